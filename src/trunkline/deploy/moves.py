"""What a change ships: another model, or only which version runs where, which no verdict on the model is about."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import yaml

from trunkline.adapters.git import ancestry, repository
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.conf import registry, versions
from trunkline.conf.deploy import Deploy
from trunkline.conf.registry import LATEST, NOTHING, Declaration, Desired, Registry
from trunkline.conf.signers import Key, Keyless
from trunkline.conf.versions import Version
from trunkline.core import paths, safe_yaml
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json
from trunkline.core.params import Params
from trunkline.release import verify
from trunkline.release.verify import RefusedError

READ = (paths.BUNDLE_REPORT, paths.LOCK, paths.PARAMS, paths.REGISTRY)  # of the base


# version: another one is to run. shadow, canary: a candidate is to be tried. ended: no longer. hold, lifted: of one.
MoveKind = Literal["version", "shadow", "canary", "ended", "hold", "lifted"]


@dataclass(frozen=True)
class Move:
    """An environment that is declared to run something else: `before` and `after` are as the registry file has them.

    `version` is what it is about: what the environment runs then, or the version that is tried or held. `back` says
    that an older one than before is to run; `share` is a canary's, in percent. `refused` says why it must not be, else
    `signer` who signed a version that is to run or to be tried.
    """

    environment: str
    before: str
    after: str
    version: str | None
    back: bool
    refused: str = ""
    signer: str = ""
    kind: MoveKind = "version"
    share: float | None = None


def same_model(since: Since) -> bool:
    """Tell whether the tree's bundle is that of a commit, and nothing that decides a result has changed since."""
    if since.changed(*repository.INPUTS):
        return False
    before, now = (_shipped(read) for read in (since.text, since.current))
    return before is not None and before == now


def _shipped(read: Callable[[str], str | None]) -> tuple[str, ...] | None:
    """Return the digest that the reports name, and what dvc.lock has of the bundle; None where they cannot be read."""
    try:
        digest = str(parse_json(read(str(paths.BUNDLE_REPORT)) or "")["digest"])
        stages = safe_yaml.parse_yaml(read(str(paths.LOCK)) or "")["stages"].values()
        outs = [out for stage in stages for out in stage.get("outs", ()) if out["path"] == paths.BUNDLE.as_posix()]
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return None
    return (digest, *(str(out["md5"]) for out in outs)) if outs else None


def moves(root: Path, params: Params, base: Snapshot) -> tuple[Move, ...]:
    """Return the environments that are to run something else than at a commit, each version checked as far as git says.

    Only a signer that was declared there and still is can prove a version: a change cannot bring its own. Raises
    UserError for a registry file that cannot be read, or a wrong group.
    """
    name = params.name
    now = registry.read(root / paths.REGISTRY, name)
    before: dict[str, Declaration] = {}
    with suppress(UserError):
        before = dict(registry.parse(base.text(paths.REGISTRY) or "", name, paths.REGISTRY).environments)
    if now.environments == before:
        return ()
    signers: Mapping[str, Key | Keyless] = {}
    with suppress(UserError):
        signers = Params(base.mapping(paths.PARAMS), paths.PARAMS).group(Deploy).signers
    declared = params.group(Deploy)
    both = {name: signer for name, signer in declared.signers.items() if signers.get(name) == signer}
    declared = declared.model_copy(update={"signers": both})
    declared_now = replace(now, where=str(paths.REGISTRY))
    released = versions.of(name, (tag.name for tag in ancestry.annotated(root)))
    return tuple(_moves(root, declared_now, before, declared, released))


def _moves(
    root: Path, now: Registry, before: dict[str, Declaration], declared: Deploy, released: tuple[Version, ...]
) -> Iterator[Move]:
    def checked(move: Move, number: int) -> Move:
        return _checked(root, move, Version(now.name, number), declared)

    for environment in sorted({*now.environments, *before}):
        old, new = before.get(environment, NOTHING), now.environments.get(environment, NOTHING)
        kept = (environment in before) == (environment in now.environments)
        if old == new and kept:
            continue
        move = Move(environment, str(old), str(new), None, back=False)
        try:
            now.check(declared.environments)
            version = replace(now, environments={environment: new}).resolve(released)[environment].current
        except UserError as error:
            yield replace(move, version=move.after, refused=str(error))
            continue
        if version is None:
            yield from [move] if old.version is not None or not kept else []
        elif old.version != new.version or not kept:
            back = version.number < _resolved(old.version, released)
            yield checked(replace(move, back=back), version.number)
        yield from _of_rollout(move, old, new, checked)


def _of_rollout(move: Move, old: Declaration, new: Declaration, checked: Callable[[Move, int], Move]) -> Iterator[Move]:
    """Yield the moves of a candidate, which is checked, and of the versions that are held."""
    candidate, tried = new.candidate, old.candidate
    if candidate is not None and candidate != tried:
        yield checked(replace(move, kind=candidate.kind, share=candidate.share), candidate.version)
    on = {new.version, candidate.version if candidate else None}  # that go on, or have come to run
    if tried is not None and tried.version not in on:
        yield replace(move, kind="ended", version=registry.label(tried.version))
    for number in sorted({*new.held} - {*old.held}):
        yield replace(move, kind="hold", version=registry.label(number))
    for number in sorted({*old.held} - {*new.held}):
        yield replace(move, kind="lifted", version=registry.label(number))


def _resolved(desired: Desired, released: tuple[Version, ...]) -> int:
    """Return the number of the version that ran before; 0 without one."""
    if desired == registry.LATEST:
        return max((version.number for version in released), default=0)
    return desired if isinstance(desired, int) else 0


def _checked(root: Path, move: Move, version: Version, declared: Deploy) -> Move:
    checked = replace(move, version=version.label)
    try:
        return replace(checked, signer=verify.chain(root, version, declared.signers).signer)
    except RefusedError as error:
        return replace(checked, refused=str(error))


Kind = Literal["promote", "rollback"]


def in_words(move: Move, quoted: Callable[[str], str]) -> str:
    """Return what a move does, such as `Promotes v4 to production`."""
    where = quoted(move.environment)
    if move.version is None:
        return f"Has {where} run nothing"
    if move.kind != "version":
        return _WORDS[move.kind].format(where=where, version=quoted(move.version), share=move.share)
    if move.back:
        return f"Rolls {where} back to {quoted(move.version)}"
    latest = f" ({LATEST})" if move.after == LATEST else ""
    return f"Promotes {quoted(move.version)}{latest} to {where}"


_WORDS: dict[MoveKind, str] = {
    "shadow": "Tries {version} in {where} as a shadow, which answers nothing",
    "canary": "Tries {version} in {where} as a canary, which answers {share:g} %",
    "ended": "Ends the rollout of {version} in {where}",
    "hold": "Holds {version} in {where}",
    "lifted": "Lifts the hold of {version} in {where}",
}
