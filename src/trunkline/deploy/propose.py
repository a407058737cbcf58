"""Proposes what an environment is to run: one value of the registry file, on a branch of the trunk, with evidence.

The user's working tree is neither read nor changed. What is proposed twice is the same branch and the same pull
request; where the trunk has moved on, the branch starts again at its tip.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from trunkline.adapters import pulls
from trunkline.adapters.forge import api
from trunkline.adapters.git import ancestry, messages, remote, repository
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.adapters.pulls import Origin, Wanted
from trunkline.conf import registry as conf_registry
from trunkline.conf import versions
from trunkline.conf.bundle import Packaging
from trunkline.conf.deploy import Deploy
from trunkline.conf.evaluation import WHOLE
from trunkline.conf.registry import NOTHING, Declaration, Desired, Registry
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.params import Params, dig
from trunkline.deploy import course, history, registry_edit, rehearse
from trunkline.deploy import proposal as deploy_proposal
from trunkline.deploy.moves import Kind
from trunkline.deploy.proposal import Holdout, MeasuredVersion, ProposalEvidence
from trunkline.pipeline.reports import Past
from trunkline.release import verify
from trunkline.release.verify import RefusedError, VerifiedVersion
from trunkline.show import differences

READ = (paths.PARAMS, paths.SLICES, paths.LOCK)  # of a version's commit

Tell = Callable[[str], None]
Section = tuple[str, str]  # of a pull request: its heading, and Markdown


@dataclass(frozen=True)
class Intent:
    """What a person asks for; without a version, a rollback ends a rollout, or goes to the one that ran before.

    With `at_once`, a promotion replaces what runs, though conf/deploy declares the steps of a rollout.
    """

    kind: Kind
    environment: str
    version: str | None
    reason: str = ""
    at_once: bool = False


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
    """A change of the registry file on top of the trunk's tip, ready to be committed, and what is said of it.

    `branch`, `title` and `body`, in Markdown, are of its pull request, `message` is its commit's; `facts` are of JSON.
    """

    trunk: TrunkState
    text: str
    branch: str
    title: str
    body: str
    message: str
    facts: Mapping[str, str]
    automatic: bool

    @property
    def diff(self) -> str:
        """The change as git would show it."""
        return differences.of_file(paths.REGISTRY, self.trunk.text, self.text)


@dataclass(frozen=True)
class Opened:
    """The pull request of a proposal, the commit that is its head, and whether it is merged already."""

    commit: str
    number: int
    url: str
    merged: bool


def prepare(
    root: Path,
    trunk: str,
    intent: Intent,
    environ: Mapping[str, str],
    tried: "Callable[[TrunkState, Version], Sequence[Section]] | None" = None,
) -> Proposal | NoChange:
    """Fetch the trunk, verify the version, and for a rollback run it; nothing is committed.

    `tried` says what became of the version as a candidate of other environments.
    Raises UserError for an environment or version that does not exist, RefusedError for a version that must not be run,
    OutsideError where the remote or the bundle cannot be reached.
    """
    tip = look(root, trunk, environ)
    desired, version, ran = _wanted(root, tip, intent)
    present = tip.registry.environments[intent.environment]
    declared = _declared(tip, intent, desired, version)
    if present == declared:
        return NoChange(intent.environment, str(declared))
    text = registry_edit.edited(tip.text, tip.registry, intent.environment, declared)
    if version.tag in tip.moved:
        raise RefusedError(f"{version}: origin has another tag of this name: it was moved, and a version never changes")
    proven = verify.chain(root, version, tip.declared.signers)
    rehearsed = rehearse.rehearse(root, version, tip.tolerance) if intent.kind == "rollback" else None
    evidence = _evidence(root, tip, intent, declared, proven)
    sections = tried(tip, version) if tried else ()
    return _proposal(tip, text, replace(evidence, ran_before=version in ran, rehearsed=rehearsed, tried=sections))


def local(root: Path, proposal: Proposal) -> str:
    """Commit to a local branch, which is not checked out, and return the commit.

    Raises UserError where there is a branch of this name that holds something else.
    """
    existing = repository.resolve(root, f"refs/heads/{proposal.branch}")
    if existing is not None and _is(root, proposal, existing):
        return existing
    commit = committed(root, proposal)
    remote.branch(root, proposal.branch, commit)
    return commit


def publish(root: Path, proposal: Proposal, environ: Mapping[str, str], forge: api.Forge, tell: Tell) -> Opened:
    """Push the branch and open the pull request, unless they exist; it merges by itself where conf/deploy says so.

    Raises OutsideError where the remote or the forge fails; it may be called again.
    """
    fetched = remote.fetch_branch(root, proposal.branch, environ)
    commit = fetched if fetched is not None and _is(root, proposal, fetched) else committed(root, proposal)
    wanted = Wanted(proposal.branch, proposal.trunk.branch, proposal.title, proposal.body)
    pull = pulls.publish(Origin(root, environ, forge, tell), commit, wanted)
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
    """Return the version that is asked for, as declared and as what it means, and all that the environment has run."""
    where = f"{paths.REGISTRY}: {trunk.name}.{intent.environment}"
    environments = {**trunk.registry.environments}
    environments.setdefault(intent.environment, NOTHING)
    replace(trunk.registry, environments=environments).check(trunk.declared.environments)
    ran = ran_in(root, trunk.tip, trunk.name, intent.environment)
    present = environments[intent.environment]
    label = intent.version or ""
    if intent.kind == "rollback" and not label:
        before = deploy_proposal.previous(ran)
        if before is None and present.candidate is None:
            raise UserError(f"nothing ran in {intent.environment} before; name a version with --version")
        label = conf_registry.label(present.version) if present.candidate or before is None else before.label
    if label != conf_registry.LATEST:
        label = versions.named(label, trunk.name).label
    desired = conf_registry.understood(where, intent.environment, label)
    wanted = replace(trunk.registry, environments={intent.environment: Declaration(desired)})
    version = wanted.resolve(trunk.released)[intent.environment].current
    if version is None:
        raise UserError(f"{trunk.name} has no version yet; trunkline release makes the first")
    return desired, version, ran


def ran_in(root: Path, tip: str, name: str, environment: str) -> list[Version | None]:
    """Return the versions that an environment was declared to run along the trunk up to a commit, the oldest first."""
    changes = history.changes(root, tip, name)
    declared = {change.commit: change.after.version for change in changes if change.environment == environment}
    tags = ((Version.of_tag(tag.name), tag.commit) for tag in ancestry.annotated(root))
    tagged = {commit: release for release, commit in sorted(tags, key=str) if release and release.name == name}
    return deploy_proposal.runs(reversed(ancestry.line(root, tip)), name, declared, tagged)


def _declared(trunk: TrunkState, intent: Intent, desired: Desired, version: Version) -> Declaration:
    """Return what is to be declared: a promotion may begin a rollout, a rollback ends the one that runs.

    `version` is what `desired` means. Raises RefusedError for a promotion while a rollout runs, and for a version that
    is held.
    """
    present = trunk.registry.environments[intent.environment]
    rollout = trunk.declared.environments[intent.environment].rollout
    where = f"{paths.REGISTRY}: {trunk.name}.{intent.environment}"
    if intent.kind == "rollback":
        ended = course.gone_back(present) if present.candidate else present
        declared = replace(ended, version=desired)
    elif present.candidate:
        raise RefusedError(_runs_already(where, intent.environment, present))
    elif rollout is None or intent.at_once or _current(trunk, intent.environment) in (None, version):
        declared = replace(present, version=desired)
    elif isinstance(desired, int):
        declared = course.begun(present, desired, rollout)
    else:
        raise RefusedError(f"{where}: latest would replace what runs, without a rollout; name a version, or --at-once")
    try:
        conf_registry.refuse_clashes(where, declared)
        replace(trunk.registry, environments={intent.environment: declared}).resolve(trunk.released)
    except UserError as error:
        raise RefusedError(str(error)) from None
    return declared


def _current(trunk: TrunkState, environment: str) -> Version | None:
    return trunk.registry.resolve(trunk.released)[environment].current


def _runs_already(where: str, environment: str, present: Declaration) -> str:
    candidate = present.candidate and conf_registry.label(present.candidate.version)
    return (
        f"{where}: a rollout of {candidate} runs, and one at a time does; it ends when {candidate} has passed its last "
        f"step or is taken back, and at once with: trunkline rollback --to {environment}"
    )


def _proposal(trunk: TrunkState, text: str, evidence: ProposalEvidence) -> Proposal:
    facts = {
        "environment": evidence.environment,
        "before": evidence.before,
        "after": evidence.after,
        "version": evidence.new.version.label,
        "digest": evidence.digest,
    }
    return Proposal(
        trunk=trunk,
        text=text,
        branch=deploy_proposal.branch(evidence.kind, evidence.environment, evidence.label),
        title=deploy_proposal.title(evidence),
        body=deploy_proposal.body(evidence),
        message=deploy_proposal.message(evidence),
        facts=facts,
        automatic=trunk.declared.environments[evidence.environment].merge == "automatic",
    )


def _evidence(
    root: Path, trunk: TrunkState, intent: Intent, declared: Declaration, proven: VerifiedVersion
) -> ProposalEvidence:
    current = trunk.registry.environments[intent.environment]
    present = _current(trunk, intent.environment)
    tag = present and ancestry.tag(root, present.tag)
    new, old = proven.tag.commit, tag and tag.commit
    after, before = Snapshot(root, new, READ), Snapshot(root, old, READ) if old else None
    return ProposalEvidence(
        kind=intent.kind,
        environment=intent.environment,
        before=str(current),
        after=str(declared),
        label=conf_registry.label(declared.candidate.version if declared.candidate else declared.version),
        new=_measured(proven.version, after),
        present=_measured(present, before) if present and before else None,
        digest=proven.digest,
        signer=proven.signer,
        gates=proven.gates,
        merged=_merged(root, new, old) if old else (),
        config=differences.differences(*(side.mapping(paths.PARAMS) for side in (before, after))) if before else (),
        back=present is not None and proven.version < present,
        begins=_begins(trunk, intent.environment, declared),
        taken_back=conf_registry.label(current.candidate.version) if current.candidate else "",
        reason=intent.reason,
    )


def _begins(trunk: TrunkState, environment: str, declared: Declaration) -> str:
    """Return the first step of a rollout in words; nothing where none begins."""
    rollout = trunk.declared.environments[environment].rollout
    if declared.candidate is None or rollout is None:
        return ""
    step = rollout.steps[0]
    does = "scores too, and does not answer," if step.kind == "shadow" else "answers"
    return f"it {does} {step.share:g} % of the requests, which is step 1 of {len(rollout.steps)} of conf/deploy"


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
    return pulls.holds(root, proposal.trunk.tip, commit, {paths.REGISTRY: remote.blob(root, proposal.text)})


def committed(root: Path, proposal: Proposal) -> str:
    """Return a commit of the proposal on the trunk's tip, which no branch has yet."""
    return remote.commit_file(root, proposal.trunk.tip, paths.REGISTRY, proposal.text, proposal.message)
