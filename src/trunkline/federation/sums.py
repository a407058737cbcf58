"""Secure aggregation: sites publish masked shares of rows times coefficients, of which only the sum can be read.

A round is a file that the joining project opens; each site signs a share of it; when all are there, the sum divided by
the rows is a linear model, which is pinned as any other site's. Sites follow the protocol and do not collude, all but
one, or it protects nothing; whoever drops out ends the round.
"""

import base64
import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from trunkline.bundle.contract import Input
from trunkline.bundle.manifest import MANIFEST
from trunkline.conf import signers
from trunkline.conf.model import Summed
from trunkline.conf.signers import Key, Keyless
from trunkline.core import files, paths
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.core.tasks import Task
from trunkline.federation import linear, masks
from trunkline.federation.linear import Form
from trunkline.federation.sites import GRAPH, Expected, PinnedSite
from trunkline.pipeline.train import modelfile
from trunkline.release import signing
from trunkline.release.provenance import STATEMENT

ROUNDS, ROUND = Path("models/rounds"), "round.json"
PREDICATE = "urn:trunkline:share:v1"
FEWEST = 3  # sites; of two, each knows the other's share
_CONTROL = 2  # numbers before the coefficients: zero, which a sum of masks that cancel leaves, and rows


class Round(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all sites of a sum agree on; the sha256 of its file is the round's identity, of which masks are made.

    `members` are public keys in PEM by site, `bits` the binary places of shares, `until` the day before which training
    must end; the rest is what the model is, as in `Expected`. The nonce is of this round alone.
    """

    round: str
    nonce: str
    bits: Annotated[int, msgspec.Meta(ge=8, le=48)]
    members: dict[Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,59}$")], str]
    until: date | None
    task: Task
    label: str
    classes: tuple[str, ...]
    inputs: tuple[Input, ...]
    plan: dict[str, Any]
    form: Form

    @property
    def expected(self) -> Expected:
        """What a site's model must be."""
        return Expected(self.task, self.label, self.classes, self.inputs, self.plan, self.until)

    @property
    def keys(self) -> dict[str, masks.PublicKey]:
        """Return the public keys by site; raises UserError for fewer than three, or two that are the same."""
        keys = {name: masks.public(pem, name) for name, pem in self.members.items()}
        if len({key.public_bytes_raw() for key in keys.values()}) < max(FEWEST, len(keys)):
            raise UserError(f"members: must be {FEWEST} sites at least, each with a key of its own")
        return keys


class _Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    digest: dict[str, str]


class _Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    site: str
    numbers: bytes


class _Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An in-toto statement on a round: the share of a site."""

    type: str = msgspec.field(name="_type")
    subject: tuple[_Subject, ...]
    predicate_type: str
    predicate: _Share

    @classmethod
    def of(cls, agreed: Round, identity: str, site: str, numbers: bytes) -> Self:
        return cls(STATEMENT, (_Subject(agreed.round, {"sha256": identity}),), PREDICATE, _Share(site, numbers))


def opened(name: str, summed: Summed, expected: Expected, train: Dataset, private: Collection[str] = ()) -> Path:
    """Open the round that conf/model declares of a sum; return its file, which sites make their shares of.

    Raises UserError for keys that are none, for a round that has been opened before, and for a category of the features
    that are `private`, whose texts everyone would read.
    """
    path = ROUNDS / summed.round / ROUND
    if path.exists():
        raise UserError(f"{path}: has been opened; name another: model.sites.{name}.round")
    if expected.task not in linear.TASKS:
        raise UserError(f"data.target.task: linear models are summed for {' and '.join(linear.TASKS)}")
    if told := sorted(set(train.schema.of_role("categorical")) & set(private)):
        raise UserError(f"conf/features: {told[0]} is personal, and a round lists the texts of categories; hide it")
    agreed = Round(
        round=summed.round,
        nonce=secrets.token_hex(32),
        bits=summed.bits,
        members={member: each.key for member, each in summed.members.items()},
        until=expected.until,
        task=expected.task,
        label=expected.label,
        classes=expected.classes,
        inputs=expected.inputs,
        plan=msgspec.to_builtins(expected.plan),
        form=Form.of(train),
    )
    _ = agreed.keys
    files.write_text(path, msgspec.json.format(msgspec.json.encode(agreed), indent=1).decode() + "\n")
    return path


def read(path: Path) -> tuple[Round, str]:
    """Return the round of a file, and its identity; raises UserError for another file."""
    try:
        content = path.read_bytes()
        return msgspec.json.decode(content, type=Round), hashlib.sha256(content).hexdigest()
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UserError(f"{path}: is no round as trunkline federate round writes it: {error}") from None


def fingerprints(path: Path) -> dict[str, str]:
    """Return the sha256 of each key of a round, in DER, as `openssl pkey -pubin -outform DER | sha256sum` prints it."""
    return {name: masks.fingerprint(key) for name, key in read(path)[0].keys.items()}


def shared(path: Path, name: str, own: Expected, trained_until: date | None, environ: Mapping[str, str]) -> Path:
    """Write the share of the site of a name, of the model that dvc repro has trained; return its file.

    Raises UserError for a round that is of another model than conf/ declares here, a model that is not linear, and for
    a second share of a round: the difference of two would be that of their models.
    """
    agreed, identity = read(path)
    keys, key = agreed.keys, masks.private(environ)
    if name not in keys or keys[name].public_bytes_raw() != key.public_key().public_bytes_raw():
        raise UserError(f"{path}: members.{name}: is not the key of {masks.KEY}")
    if wrong := own.misfits(agreed.expected):
        raise UserError("\n".join(f"{path}: {line}" for line in wrong))
    if agreed.until and trained_until and trained_until > agreed.until:
        raise UserError(f"{path}: data.window.train ends on {trained_until}, after the round's holdout has begun")
    train = Dataset.read("train")
    theta = linear.coefficients(modelfile.load(paths.MODEL), train, agreed.form)
    numbers = fixed(theta, train.frame.height, agreed)
    numbers += masks.total(key, name, keys, bytes.fromhex(identity), len(numbers))
    payload = msgspec.json.encode(_Statement.of(agreed, identity, name, numbers.tobytes()))
    share = path.parent / f"{name}.json"
    if share.exists() and base64.b64encode(payload).decode() not in share.read_text():
        raise UserError(
            f"{share}: is a share by another model: two of a round would tell how these differ; have the joining "
            "project open a round of another name"
        )
    signed = signing.sign(payload, environ)
    if len(signed) > signing.LIMIT:
        raise UserError(f"{path}: {agreed.form.count} coefficients are too many for a share; have fewer categories")
    files.write_text(share, signed)
    return share


def fixed(coefficients: Floats, rows: int, agreed: Round) -> NDArray[np.uint64]:
    """Return the numbers of a share before they are masked: zero, rows, rows times coefficients, modulo 2^64.

    Raises UserError for coefficients so large that the sum of all sites might not fit.
    """
    scaled = coefficients * rows * 2.0**agreed.bits
    if not np.abs(scaled).max() < 2.0**63 / len(agreed.members):
        raise UserError(f"bits: rows times coefficients do not fit with {agreed.bits} binary places; declare fewer")
    return np.concatenate([[0, rows], np.rint(scaled).astype(np.int64)]).astype(np.int64).astype(masks.NUMBERS)


def pinned(name: str, summed: Summed, expected: Expected) -> PinnedSite:
    """Return the mean of the sites of a sum, whose shares are in its round's folder.

    Raises UserError, with the site's name, for a share that is missing, not signed as declared, of another site or
    round, and for shares whose masks do not cancel.
    """
    try:
        return _pinned(name, summed, expected)
    except UserError as error:
        lines = [f"model.sites.{name}: {line}" for line in str(error).splitlines()]
        raise UserError("\n".join(lines)) from None


def _pinned(name: str, summed: Summed, expected: Expected) -> PinnedSite:
    folder = ROUNDS / summed.round
    if not (folder / ROUND).exists():
        raise UserError(f"round {summed.round} has not been opened; run: trunkline federate round {name}")
    agreed, identity = read(folder / ROUND)
    declared = {member: each.key for member, each in summed.members.items()}
    given = (summed.round, summed.bits, declared, expected.until)
    if (agreed.round, agreed.bits, agreed.members, agreed.until) != given:
        raise UserError(f"round, bits, members or holdout are not those of {folder / ROUND}; open another round")
    if wrong := expected.misfits(agreed.expected):
        raise UserError("\n".join(f"{folder / ROUND}: {line}" for line in wrong))
    _ = agreed.keys
    kept = [folder / ROUND, *(folder / f"{member}.json" for member in declared)]
    for foreign in sorted(set(folder.iterdir()) - set(kept)):
        raise UserError(f"{foreign}: is the share of no declared member; remove it")
    shares = [
        _share(path, member, signers.of(summed.members[member].signers), agreed, identity)
        for path, member in zip(kept[1:], declared, strict=True)
    ]
    rows, coefficients = mean(shares, agreed)
    content = linear.graph(coefficients, agreed.form, _schema(agreed))
    hashes = {GRAPH: hashlib.sha256(content).hexdigest()} | {path.as_posix(): files.sha256(path) for path in kept}
    manifest = files.canonical_json({"files": hashes, "round": identity, "rows": rows}, None).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    return PinnedSite(", ".join(sorted(declared)), digest, rows, {MANIFEST: manifest, GRAPH: content})


def _share(
    path: Path, member: str, declared: Mapping[str, Key | Keyless], agreed: Round, identity: str
) -> NDArray[np.uint64]:
    """Return the numbers of a member's share; raises UserError for one that is not believed."""
    at = f"members.{member}: {path}"
    if not path.exists():
        raise UserError(f"{at}: is missing; a sum needs the share of every member")
    try:
        payload = signing.verify(path.read_text(), declared).payload
        statement = msgspec.json.decode(payload, type=_Statement)
    except signing.SignatureError as error:
        raise UserError(f"{at}: {error}") from None
    except (msgspec.MsgspecError, UnicodeError):
        raise UserError(f"{at}: is no share as trunkline federate share writes it") from None
    numbers = statement.predicate.numbers
    if statement != _Statement.of(agreed, identity, statement.predicate.site, numbers):
        raise UserError(f"{at}: is the share of another round: an earlier one, or of other members, features or scale")
    if statement.predicate.site != member:
        raise UserError(f"{at}: is the share of {statement.predicate.site!a}")
    if len(numbers) != (_CONTROL + agreed.form.count) * masks.NUMBERS.itemsize:
        raise UserError(f"{at}: has not {_CONTROL + agreed.form.count} numbers of 64 bits")
    return np.frombuffer(numbers, dtype=masks.NUMBERS)


def mean(shares: Iterable[NDArray[np.uint64]], agreed: Round) -> tuple[int, Floats]:
    """Return the rows of all sites, and the mean of their coefficients."""
    total = np.stack([*shares]).sum(axis=0, dtype=masks.NUMBERS).astype(np.int64)
    zero, rows = int(total[0]), int(total[1])
    if zero or rows < len(agreed.members):
        raise UserError(f"the masks of {', '.join(agreed.members)} do not cancel: one of them has used another key")
    return rows, total[_CONTROL:] / 2.0**agreed.bits / rows


def _schema(agreed: Round) -> Schema:
    roles = {"numeric": agreed.form.numeric, "categorical": agreed.form.categories}
    features = tuple(Feature(name, role) for role, names in roles.items() for name in names)  # type: ignore[arg-type]
    return Schema(features, agreed.label, "UTC", agreed.task)
