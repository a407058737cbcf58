"""Of masked shares only the sum can be read: the weighted mean of the sites' models; and no other share counts."""

import base64
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests import releases
from tests.federation.test_sites import EXPECTED
from tests.pipeline.bundle.onnx.test_export import KNOWN, dataset, model, scores, steps
from trunkline.bundle.manifest import MANIFEST
from trunkline.conf.model import Model, Summed
from trunkline.core import paths
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.federation import linear, masks, sums
from trunkline.federation.linear import Form
from trunkline.federation.sums import ROUND, ROUNDS, Round
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.train import fit, joint, modelfile
from trunkline.release import signing

SITES = ("north", "south", "west")
OURS = replace(EXPECTED, task="binary")
LOGISTIC = "sklearn.linear_model.LogisticRegression"
MODELS = {  # each prepares its rows in its own way
    "north": model(LOGISTIC, steps("median", "standard", "onehot", 20)),
    "south": model(LOGISTIC, steps("mean", "min_max", "target"), C=0.1),
    "west": model(LOGISTIC, steps("zero", "robust", "ordinal")),
}


def key(name: str) -> X25519PrivateKey:
    """Return the masking key of a site."""
    return X25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


def secret(name: str) -> str:
    return key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public(name: str) -> str:
    return key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def environ(name: str) -> dict[str, str]:
    return {masks.KEY: secret(name), signing.KEY: releases.private(name)}


def declared(**changed: Any) -> Summed:
    members = {name: {"key": public(name), "signers": releases.signers(name)} for name in SITES}
    return Summed.model_validate({"round": "first", "members": members} | changed)


def agreed(members: int, bits: int, form: Form) -> Round:
    keys = {f"site{number}": public(f"site{number}") for number in range(members)}
    content = {"round": "first", "nonce": "", "bits": bits, "members": keys, "until": None, "form": form}
    return Round(**content, task="binary", label="late", classes=(), inputs=(), plan={})


@settings(max_examples=40, deadline=None)
@given(data=st.data(), members=st.integers(3, 8), bits=st.integers(8, 40), identity=st.binary(min_size=32, max_size=32))
def test_masks_cancel_and_leave_the_weighted_mean_to_the_binary_place(data, members, bits, identity) -> None:
    form = Form(numeric=tuple("abcdefgh"), categories={})
    of, names = agreed(members, bits, form), [f"site{number}" for number in range(members)]
    numbers = st.lists(st.floats(-100, 100), min_size=form.count, max_size=form.count)
    models = [np.array(data.draw(numbers)) for _ in names]
    rows = data.draw(st.lists(st.integers(1, 10_000), min_size=members, max_size=members))
    plain = [sums.fixed(each, count, of) for each, count in zip(models, rows, strict=True)]
    masked = [
        each + masks.total(key(name), name, of.keys, identity, len(each))
        for name, each in zip(names, plain, strict=True)
    ]
    total, mean = sums.mean(masked, of)
    assert total == sum(rows)
    step = 0.5 * members * 2.0**-bits / total
    assert np.abs(mean - np.average(models, axis=0, weights=rows)).max() <= step + 1e-12
    for number in range(members):  # the others alone are not the sum
        with pytest.raises(UserError, match="do not cancel"):
            sums.mean(masked[:number] + masked[number + 1 :], of)


def test_a_share_alone_is_uniform_and_of_its_round_alone() -> None:
    of = agreed(3, 32, Form(numeric=tuple(map(str, range(20_000))), categories={}))
    plain = sums.fixed(np.full(of.form.count, 0.5), 1000, of)

    def unlikely(numbers: Any) -> float:
        return float(stats.chisquare(np.bincount(np.frombuffer(numbers.tobytes(), np.uint8), minlength=256)).pvalue)

    first, second = (masks.total(key("site1"), "site1", of.keys, bytes([n] * 32), len(plain)) for n in (1, 2))
    assert unlikely(plain) < 1e-9
    assert min(unlikely(plain + first), unlikely(plain + second), unlikely(first - second)) > 1e-3
    with pytest.raises(UserError, match="declare fewer"):
        sums.fixed(np.full(of.form.count, 2.0e6), 1000, of)
    assert np.array_equal(first, masks.total(key("site1"), "site1", of.keys, bytes([1] * 32), len(plain)))


@pytest.fixture(scope="module")
def trained() -> tuple[Dataset, dict[str, Dataset], dict[str, Any]]:
    """All rows, those of each site, and the model that each has fitted to them."""
    rows = dataset(KNOWN)
    parts = {name: replace(rows, frame=rows.frame[place**2 :: 3]) for place, name in enumerate(SITES)}
    return rows, parts, {name: fit.fit(parts[name], MODELS[name], 7) for name in SITES}


@pytest.fixture
def shared(trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A round's folder in the joining project, with the share that each site has made at home."""
    rows, parts, _ = trained
    monkeypatch.chdir(tmp_path)
    opened = sums.opened("all", declared(), OURS, rows)
    for name in SITES:
        home = tmp_path / "homes" / name
        (home / ROUNDS / "first").mkdir(parents=True)
        shutil.copy(opened, home / opened)
        monkeypatch.chdir(home)
        publish(parts[name], trained[2][name])
        made = sums.shared(opened, name, OURS, date(2013, 7, 1), environ(name))
        shutil.copy(made, tmp_path / made)
    monkeypatch.chdir(tmp_path)
    return ROUNDS / "first"


def publish(train: Dataset, pipeline: Any) -> None:
    """Write what dvc repro does of them."""
    paths.FEATURES.mkdir(parents=True, exist_ok=True)
    train.frame.write_parquet(paths.FEATURES / "train.parquet")
    train.schema.write()
    modelfile.save(pipeline, paths.MODEL)


def refused(summed: Summed | None = None) -> str:
    with pytest.raises(UserError) as caught:
        sums.pinned("all", summed or declared(), OURS)
    return str(caught.value)


def test_the_sum_is_the_mean_of_the_sites_margins(shared, trained) -> None:
    rows, parts, fits = trained
    pinned = sums.pinned("all", declared(), OURS)
    assert (pinned.rows, pinned.signer) == (sum(each.frame.height for each in parts.values()), "north, south, west")
    form, weights = Form.of(rows), [each.frame.height for each in parts.values()]
    own = [linear.coefficients(fits[name], parts[name], form) for name in SITES]
    mean = linear.graph(np.average(own, axis=0, weights=weights), form, KNOWN)
    summed = scores(pinned.files["model.onnx"], rows.features, KNOWN)
    assert np.abs(summed - scores(mean, rows.features, KNOWN)).max() < 1e-9
    graphs = [export.export(fits[name], KNOWN) for name in SITES]
    joined = scores(joint.join(graphs, weights, "margins"), rows.features, KNOWN)
    assert np.abs(summed - joined).max() < 1e-9
    assert sums.pinned("all", declared(), OURS) == pinned

    # It is trained as any other pinned site is.
    folder = paths.SITES / "all"
    folder.mkdir(parents=True)
    for name, content in pinned.files.items():
        (folder / name).write_bytes(content)
    sites = {"all": declared().model_dump() | {"digest": pinned.digest, "rows": pinned.rows}}
    of = Model.parse({"_target_": "trunkline.JointClassifier", "preprocess": steps(), "sites": sites})
    assert np.abs(fit.scores(fit.fit(rows, of, 7), rows.features) - summed).max() == 0
    assert set(json.loads(pinned.files[MANIFEST])["files"]) == {
        "model.onnx",
        *(f"models/rounds/first/{name}.json" for name in ("round", *SITES)),
    }


def test_a_share_that_is_missing_changed_replayed_or_of_another_is_refused(shared, trained) -> None:
    south = shared / "south.json"
    text = south.read_text()
    south.unlink()
    assert refused() == f"model.sites.all: members.south: {south}: is missing; a sum needs the share of every member"
    south.write_text((shared / "north.json").read_text())
    assert f"members.south: {south}: signed by the key" in refused()
    same = {name: {"key": public(name), "signers": releases.signers("north")} for name in SITES}
    assert "members.south: models/rounds/first/south.json: is the share of 'north'" in refused(declared(members=same))
    envelope = json.loads(text)
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["predicate"]["numbers"] = "A" + payload["predicate"]["numbers"][1:]
    changed = base64.b64encode(json.dumps(payload, separators=(",", ":")).encode()).decode()
    south.write_text(msgspec.json.encode(envelope | {"payload": changed}).decode())
    assert f"members.south: {south}: the signature does not fit" in refused()
    south.write_text(resigned(text, lambda numbers: numbers[:-8]))
    assert "members.south: models/rounds/first/south.json: has not" in refused()
    south.write_text(resigned(text, lambda numbers: b"\1" + numbers[1:]))
    assert "the masks of north, south, west do not cancel" in refused()
    south.write_text(text)
    (shared / "east.json").write_text(text)
    assert "east.json: is the share of no declared member" in refused()
    (shared / "east.json").unlink()

    # The same sites, features and scale, in a round of its own: what was shared before is of no use.
    shutil.move(shared / ROUND, shared.parent / "first.json")
    sums.opened("all", declared(), OURS, trained[0])
    assert "members.north: models/rounds/first/north.json: is the share of another round" in refused()
    shutil.move(shared.parent / "first.json", shared / ROUND)
    assert "round, bits, members or holdout are not those of" in refused(declared(bits=31))
    content = json.loads((shared / ROUND).read_text())
    (shared / ROUND).write_text(json.dumps(content | {"form": content["form"] | {"numeric": ["y", "x", "constant"]}}))
    assert "is the share of another round" in refused()


def resigned(text: str, change: Any) -> str:
    """Return a share that its site itself has changed."""
    payload = json.loads(base64.b64decode(json.loads(text)["payload"]))
    numbers = change(base64.b64decode(payload["predicate"]["numbers"]))
    payload["predicate"]["numbers"] = base64.b64encode(numbers).decode()
    return signing.sign(json.dumps(payload, separators=(",", ":")).encode(), environ("south"))


def test_a_site_shares_nothing_where_it_would_tell_too_much(shared, trained, monkeypatch) -> None:
    rows, parts, fits = trained
    monkeypatch.chdir(Path("homes/north").absolute())
    file = ROUNDS / "first" / ROUND
    text = file.read_text()

    def not_shared(name: str = "north", of: Mapping[str, str] | None = None, **changed: Any) -> str:
        file.write_text(json.dumps(json.loads(text) | changed) if changed else text)
        with pytest.raises(UserError) as caught:
            sums.shared(file, name, OURS, date(2013, 7, 1), environ(name) if of is None else of)
        return str(caught.value)

    members = json.loads(text)["members"]
    assert "must be 3 sites at least" in not_shared(members={name: members[name] for name in ("north", "south")})
    assert "each with a key of its own" in not_shared(members=members | {"west": members["south"]})
    assert "members.east: is not the key of TRUNKLINE_MASKING_KEY" in not_shared("east")
    assert "members.north: is not the key of" in not_shared(of=environ("south"))
    assert "TRUNKLINE_MASKING_KEY is not set" in not_shared(of={})
    assert "is no private key of X25519" in not_shared(of={masks.KEY: releases.private()})
    low = X25519PublicKey.from_public_bytes(bytes(32))
    point = low.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert "west: its key is of low order" in not_shared(members=members | {"west": point})
    assert "ends on 2013-07-01, after the round's holdout" in not_shared(until="2013-06-30")
    assert "computes its features otherwise" in not_shared(plan={})
    form = json.loads(text)["form"]
    assert "features are not those of data/features" in not_shared(form=form | {"numeric": ["x", "y"]})
    assert "is no round as" in not_shared(bits=55)
    assert "is no round as" in not_shared(members=members | {"../east": public("east")})
    assert "is no round as trunkline federate round writes it" in not_shared(more=1)
    publish(parts["north"], fits["south"])
    assert "is a share by another model" in not_shared()
    for other, words in (
        (model("sklearn.ensemble.HistGradientBoostingClassifier", steps(), max_iter=3), "is not linear"),
        (model(LOGISTIC, steps("median", "standard", "onehot", spline={})), "is not linear in its features"),
        (
            model("sklearn.ensemble.RandomForestClassifier", steps("mean", encode="ordinal"), n_estimators=2),
            "no linear",
        ),
    ):
        publish(parts["north"], fit.fit(parts["north"], other, 7))
        assert words in not_shared()
    with pytest.raises(UserError, match="code is personal, and a round lists the texts of categories"):
        sums.opened("all", declared(round="second"), OURS, rows, frozenset({"x", "code"}))
    with pytest.raises(UserError, match="has been opened; name another"):
        sums.opened("all", declared(), OURS, rows)


def test_a_regression_without_categories_is_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = dataset(KNOWN)
    numbers = replace(
        KNOWN, features=tuple(each for each in KNOWN.features if each.role == "numeric"), task="regression"
    )
    rows = replace(rows, schema=numbers)
    ridge = fit.fit(rows, model("sklearn.linear_model.Ridge", steps("mean", "standard")), 7)
    form = Form.of(rows)
    content = linear.graph(linear.coefficients(ridge, rows, form), form, numbers)
    assert np.abs(scores(content, rows.features, numbers) - fit.scores(ridge, rows.features)).max() < 1e-12
