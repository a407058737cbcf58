"""Proposes what an environment is to run: one value of the registry file, on a branch of the trunk, with evidence.

The user's working tree is neither read nor changed. What is proposed twice is the same branch and the same pull
request; where the trunk has moved on, the branch starts again at its tip.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from trunkline.adapters.forge import api
from trunkline.adapters.git import ancestry, messages, remote, repository
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.conf import registry as conf_registry
from trunkline.conf import versions
from trunkline.conf.bundle import Packaging
from trunkline.conf.deploy import Deploy
from trunkline.conf.evaluation import WHOLE
from trunkline.conf.registry import Desired, Registry
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.params import Params, dig
from trunkline.deploy import history, rehearse
from trunkline.deploy import proposal as deploy_proposal
from trunkline.deploy.moves import Kind
from trunkline.deploy.proposal import Holdout, MeasuredVersion, ProposalEvidence
from trunkline.pipeline.compose import edit
from trunkline.pipeline.reports import Past
from trunkline.release import verify
from trunkline.release.verify import RefusedError, VerifiedVersion
from trunkline.show import differences

READ = (paths.PARAMS, paths.SLICES, paths.LOCK)  # of a version's commit
FOLLOW = (str(paths.LOCK), str(paths.PARAMS), "reports/")  # what `dvc repro` makes of another registry file

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Intent:
    """What a person asks for; without a version, a rollback goes to the one that ran before."""

    kind: Kind
    environment: str
    version: str | None
    reason: str = ""


@dataclass(frozen=True)
class TrunkState:
    """The trunk's tip: its registry file, what conf/ declares there, and all versions."""

    name: str
    branch: str
    tip: str
    text: str
    registry: Registry
    declared: Deploy
    tolerance: float
    released: tuple[Version, ...]
    moved: tuple[str, ...]


@dataclass(frozen=True)
class NoChange:
    """An environment is already declared to run just that; there is nothing to propose."""

    environment: str
    declared: str


@dataclass(frozen=True)
class Proposal:
    """A change of the registry file on top of the trunk's tip, ready to be committed, and the evidence for it."""

    evidence: ProposalEvidence
    trunk: TrunkState
    text: str
    automatic: bool

    @property
    def branch(self) -> str:
        """Name of its branch."""
        return deploy_proposal.branch(self.evidence.kind, self.evidence.environment, self.evidence.after)

    @property
    def title(self) -> str:
        """Title of its pull request."""
        return deploy_proposal.title(self.evidence)

    @property
    def body(self) -> str:
        """Text of its pull request, in Markdown."""
        return deploy_proposal.body(self.evidence)

    @property
    def diff(self) -> str:
        """The change as git would show it."""
        name = paths.REGISTRY.as_posix()
        before, after = (text.splitlines(keepends=True) for text in (self.trunk.text, self.text))
        return "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"))


@dataclass(frozen=True)
class Opened:
    """The pull request of a proposal, the commit that is its head, and whether it is merged already."""

    commit: str
    number: int
    url: str
    merged: bool


def prepare(root: Path, trunk: str, intent: Intent, environ: Mapping[str, str]) -> Proposal | NoChange:
    """Fetch the trunk, verify the version, and for a rollback run it; nothing is committed.

    Raises UserError for an environment or version that does not exist, RefusedError for a version that must not be run,
    OutsideError where the remote or the bundle cannot be reached.
    """
    tip = look(root, trunk, environ)
    desired, version, ran = _wanted(root, tip, intent)
    present = tip.registry.environments[intent.environment]
    if present == desired:
        return NoChange(intent.environment, conf_registry.written(desired))
    text = edited(tip.text, tip.registry, intent.environment, desired)
    if version.tag in tip.moved:
        raise RefusedError(f"{version}: origin has another tag of this name: it was moved, and a version never changes")
    proven = verify.chain(root, version, tip.declared.signers)
    rehearsed = rehearse.rehearse(root, version, tip.tolerance) if intent.kind == "rollback" else None
    change = conf_registry.written(present), conf_registry.written(desired)
    evidence = _evidence(root, tip, intent, change, proven)
    evidence = replace(evidence, ran_before=version in ran, rehearsed=rehearsed)
    return Proposal(evidence, tip, text, tip.declared.environments[intent.environment].merge == "automatic")


def edited(text: str, registry: Registry, environment: str, desired: Desired) -> str:
    """Return the text of a registry file in which one environment has another version, and nothing else has changed.

    Raises UserError where that value cannot be replaced alone, or cannot be what the environment is to run.
    """
    written = None if desired is None else conf_registry.written(desired)
    wanted = {**registry.environments, environment: desired}
    try:
        if environment in registry.environments:
            changed = edit.put(text, (registry.name, environment), written)
            if conf_registry.parse(changed, registry.name, Path(registry.where)).environments == wanted:
                return changed
    except UserError:
        pass
    raise UserError(
        f"{registry.where}: {registry.name}.{environment}: cannot be edited; "
        f"write by hand: {environment}: {conf_registry.written(desired)}"
    ) from None


def local(root: Path, proposal: Proposal) -> str:
    """Commit to a local branch, which is not checked out, and return the commit.

    Raises UserError where there is a branch of this name that holds something else.
    """
    existing = repository.resolve(root, f"refs/heads/{proposal.branch}")
    if existing is not None and _is(root, proposal, existing):
        return existing
    commit = _commit(root, proposal)
    remote.branch(root, proposal.branch, commit)
    return commit


def publish(root: Path, proposal: Proposal, environ: Mapping[str, str], forge: api.Forge, tell: Tell) -> Opened:
    """Push the branch and open the pull request, unless they exist; it merges by itself where conf/deploy says so.

    Raises OutsideError where the remote or the forge fails; it may be called again.
    """
    fetched = remote.fetch_branch(root, proposal.branch, environ)
    commit = fetched if fetched is not None and _is(root, proposal, fetched) else _commit(root, proposal)
    pushed = remote.push(root, proposal.branch, environ, commit=commit, create=True, replace=True)
    if pushed == "moved":
        raise OutsideError(f"git push origin {proposal.branch}: somebody else pushed to it meanwhile; run it again")
    words = proposal.title, proposal.body
    pull = api.retried(partial(forge.open_pull_request, proposal.branch, proposal.trunk.branch, *words), tell)
    merged = proposal.automatic and api.retried(partial(forge.merge_when_ready, pull.number, commit), tell)
    return Opened(commit, pull.number, pull.url, merged)


def look(root: Path, trunk: str, environ: Mapping[str, str]) -> TrunkState:
    """Fetch the trunk and the tags, and read what its tip declares; raises UserError where that is broken."""
    if repository.is_shallow(root):
        raise UserError(
            "this clone is shallow: what ran before, and was merged since, is not here; run: git fetch --unshallow"
        )
    fetched = remote.fetch(root, trunk, environ)
    tip = Snapshot(root, fetched.tip, (paths.REGISTRY, paths.PARAMS))
    params = Params(tip.mapping(paths.PARAMS), f"{paths.PARAMS} of {trunk}")
    name, text = params.name, tip.text(paths.REGISTRY) or ""
    parsed = conf_registry.parse(text, name, paths.REGISTRY)
    declared = params.group(Deploy)
    parsed.check(declared.environments)
    released = versions.of(name, (tag.name for tag in ancestry.annotated(root)))
    parsed.resolve(released)
    tolerance = params.group(Packaging).tolerance
    return TrunkState(name, trunk, fetched.tip, text, parsed, declared, tolerance, released, fetched.moved)


def _wanted(root: Path, trunk: TrunkState, intent: Intent) -> tuple[Desired, Version, list[Version | None]]:
    """Return what the environment is to run, the version that this means, and all that it has run."""
    environments = trunk.registry.environments
    replace(trunk.registry, environments={**environments, intent.environment: None}).check(trunk.declared.environments)
    changes = history.changes(root, trunk.tip, trunk.name)
    declared = {change.commit: change.after for change in changes if change.environment == intent.environment}
    tags = ((Version.of_tag(tag.name), tag.commit) for tag in ancestry.annotated(root))
    tagged = {commit: release for release, commit in sorted(tags, key=str) if release and release.name == trunk.name}
    ran = deploy_proposal.runs(reversed(ancestry.line(root, trunk.tip)), trunk.name, declared, tagged)
    label = intent.version or ""
    if intent.kind == "rollback" and not label:
        before = deploy_proposal.previous(ran)
        if before is None:
            raise UserError(f"nothing ran in {intent.environment} before; name a version with --version")
        label = before.label
    if label != conf_registry.LATEST:
        label = versions.named(label, trunk.name).label
    desired = conf_registry.understood(
        f"{paths.REGISTRY}: {trunk.name}.{intent.environment}", intent.environment, label
    )
    wanted = replace(trunk.registry, environments={intent.environment: desired})
    version = wanted.resolve(trunk.released)[intent.environment]
    if version is None:
        raise UserError(f"{trunk.name} has no version yet; trunkline release makes the first")
    return desired, version, ran


def _evidence(
    root: Path, trunk: TrunkState, intent: Intent, change: tuple[str, str], proven: VerifiedVersion
) -> ProposalEvidence:
    present = trunk.registry.resolve(trunk.released)[intent.environment]
    tag = present and ancestry.tag(root, present.tag)
    new, old = proven.tag.commit, tag and tag.commit
    after, before = Snapshot(root, new, READ), Snapshot(root, old, READ) if old else None
    return ProposalEvidence(
        kind=intent.kind,
        environment=intent.environment,
        before=change[0],
        after=change[1],
        new=_measured(proven.version, after),
        present=_measured(present, before) if present and before else None,
        digest=proven.digest,
        signer=proven.signer,
        gates=proven.gates,
        merged=_merged(root, new, old) if old else (),
        config=differences.differences(*(side.mapping(paths.PARAMS) for side in (before, after))) if before else (),
        back=present is not None and proven.version < present,
        reason=intent.reason,
    )


def _measured(version: Version, files: Snapshot) -> MeasuredVersion:
    windows = dig(files.mapping(paths.PARAMS), "data", "window")
    window = {key: str(dig(windows, key) or "not known") for key in ("train", "holdout")}
    past = Past.understood({paths.SLICES.stem: files.text(paths.SLICES)})
    whole = (past.slices or {}).get(WHOLE, {}).get(WHOLE)
    data = str(dig(files.mapping(paths.LOCK), "stages", "validate", "outs"))
    holdout = None if whole is None else Holdout(window["holdout"], whole.n, data)
    return MeasuredVersion(version, files.commit, window["train"], holdout, {} if whole is None else whole.metrics)


def _merged(root: Path, new: str, present: str) -> tuple[messages.LandedCommit, ...]:
    """Return what the trunk has between two versions, whichever is the older one."""
    newer, older = (present, new) if repository.is_ancestor(root, new, present) else (new, present)
    commits = ancestry.first_parents(root, newer, since=older)
    return tuple(messages.landed(commit.hash, commit.message) for commit in commits)


def _is(root: Path, proposal: Proposal, commit: str) -> bool:
    """Tell whether a commit is the proposal on the trunk's tip, with nothing else but what `dvc repro` makes of it."""
    tip = proposal.trunk.tip
    if not repository.is_ancestor(root, tip, commit):
        return False
    registered = Snapshot(root, commit).content(paths.REGISTRY)
    changed = repository.changed_between(root, tip, commit)
    return registered == proposal.text.encode() and all(
        path == str(paths.REGISTRY) or path.startswith(FOLLOW) for path in changed
    )


def _commit(root: Path, proposal: Proposal) -> str:
    message = deploy_proposal.message(proposal.evidence)
    return remote.commit_file(root, proposal.trunk.tip, paths.REGISTRY, proposal.text, message)
