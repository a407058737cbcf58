"""Gathers what an audit judges: declarations and releases of git, chains, and what the forge and the remote tell."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from trunkline.adapters.forge import owners
from trunkline.adapters.forge.api import Forge
from trunkline.adapters.git import ancestry, remote, repository
from trunkline.adapters.git.ancestry import Commit
from trunkline.adapters.git.documents import mapping
from trunkline.adapters.git.process import output
from trunkline.conf.deploy import DeployTarget
from trunkline.conf.registry import LATEST, Desired
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy import course, history
from trunkline.deploy.history import DeclaredChange
from trunkline.lineage import facts, trace
from trunkline.lineage import stays as lineage_stays
from trunkline.lineage.audit import judge
from trunkline.lineage.audit.judge import Audit, Event, Guard, VersionEvidence, Violation
from trunkline.lineage.chain import Reviewed, Stay
from trunkline.release import releases
from trunkline.release.releases import Releases
from trunkline.show.text import clean

# What must have an owner: who may sign, what runs, and whatever computes and judges that a project has.
DECIDING = (paths.REGISTRY.as_posix(), "conf/deploy")
JUDGING = (".github", "conf/contract", "conf/evaluation", "conf/gates", "dvc.yaml", "locks", "src", "stages")


@dataclass(frozen=True)
class AuditPeriod:
    """What is audited: from one moment on, up to another; None for no end."""

    since: datetime
    until: datetime | None

    def holds(self, date: str) -> bool:
        """Tell whether a date of git's, ISO 8601, is in it."""
        at = lineage_stays.moment(date)
        return self.since <= at and (self.until is None or at < self.until)


def period(since: str, until: str | None) -> AuditPeriod:
    """Return the period between two days or moments (ISO 8601, UTC where no zone is named); a last day is in it.

    Raises UserError for what is neither.
    """
    asked_period = AuditPeriod(_moment("--since", since)[0], _moment("--until", until)[1] if until else None)
    if asked_period.until and asked_period.until <= asked_period.since:
        raise UserError(f"--until {until}: is not after --since {since}")
    return asked_period


def _moment(option: str, text: str) -> tuple[datetime, datetime]:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} {clean(text)}: is no day such as 2026-03-01 and no moment in ISO 8601") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment, moment + timedelta(days=1) if len(text) <= len("2026-03-01") else moment


@dataclass(frozen=True)
class Asked:
    """What the remote answered: versions whose tags differ there, and why it could not be asked.

    `before` is the trunk's tip as it was here before; None where there was none, or nothing was asked.
    """

    moved: tuple[Version, ...] = ()
    failed: tuple[str, ...] = ()
    before: str | None = None


def audited(folder: Path, when: AuditPeriod, trunk: str, asked: Asked, forge: Forge | None) -> Audit:
    """Return what happened in a period, what of it should not have, and what guards the trunk.

    `asked` is what the remote has answered; `forge` is asked here, unless it is None. Raises UserError for a clone
    that does not hold the trunk.
    """
    released = releases.releases(folder, trunk)
    gathering = _Gathering(folder, released, forge)
    events, guards = gathering.events(when), (*gathering.guards(), *owned(folder, released.trunk.tip))
    moved = "origin has another tag of this name than this clone: it was moved, and a version never changes"
    light = "is a lightweight tag, which says nothing and can be moved; it is no release"
    violations = (
        *(Violation("tag", version.label, None, moved) for version in asked.moved if version.name == released.name),
        *(Violation("tag", version.label, None, light) for version in released.light),
        *gathering.rewritten(asked.before),
        *judge.judge(events),
    )
    failed = (*asked.failed, *gathering.failed)
    unasked = [f"the forge was not asked; {trace.ASK}"] if forge is None else []
    return Audit(
        trunk=released.trunk.ref,
        since=when.since.isoformat(),
        until=when.until.isoformat() if when.until else None,
        events=events,
        violations=violations,
        guards=guards,
        unknown=tuple(dict.fromkeys((*failed, *unasked))),
        failed=bool(failed),
    )


def fetched(folder: Path, trunk: str, environ: Mapping[str, str]) -> Asked:
    """Fetch the trunk and the tags; return which versions' tags are others at origin than here."""
    if repository.setting(folder, "remote.origin.url") is None:
        return Asked((), ("there is no remote origin, so nothing says whether a tag was moved; --offline not to ask",))
    before = repository.resolve(folder, f"refs/remotes/origin/{trunk}")
    try:
        origin = remote.fetch(folder, trunk, environ)
    except OutsideError as error:
        return Asked((), (clean(str(error)),))
    moved = (version for name in origin.moved if (version := Version.of_tag(name)))
    return Asked(tuple(sorted(moved)), before=before)


def owned(folder: Path, tip: str) -> tuple[Guard, ...]:
    """Return whether CODEOWNERS of a commit names who must approve changes of what decides and judges."""
    texts = repository.files_at(folder, [tip], owners.PLACES)[tip]
    where = next((path for path in owners.PLACES if path in texts), None)
    text = texts[where].decode(errors="replace") if where else ""
    listed = output(folder, "ls-tree", "-r", "-z", "--name-only", tip, "--", *DECIDING, *JUDGING)
    files = [name for name in listed.decode(errors="surrogateescape").split("\0") if name]
    codeowners = where.as_posix() if where else None
    guards = []
    for path in (*DECIDING, *JUDGING):
        ours = [repository.prefix(folder) + name for name in files if name == path or name.startswith(f"{path}/")]
        if ours or path in DECIDING:
            guards.append(judge.owned(path, tuple(map(clean, owners.shared(text, ours))), codeowners))
    return tuple(guards)


class _Gathering:
    """What git and the forge say of each event; the forge is not asked again once it has failed."""

    def __init__(self, folder: Path, released: Releases, forge: Forge | None) -> None:
        self.folder, self.released, self.forge = folder, released, forge
        self.failed: tuple[str, ...] = ()
        self.evidences: dict[Version, VersionEvidence | None] = {}

    @cached_property
    def changes(self) -> tuple[DeclaredChange, ...]:
        """Oldest first."""
        return tuple(reversed(history.changes(self.folder, self.released.trunk.tip, self.released.name)))

    @cached_property
    def stays(self) -> tuple[Stay, ...]:
        return lineage_stays.stays(reversed(self.changes), self.released.dated)

    def events(self, when: AuditPeriod) -> tuple[Event, ...]:
        """Return the releases and the changes of a period, oldest first."""
        versions = [version for version, tag in sorted(self.released.tags.items()) if tag.date and when.holds(tag.date)]
        changed = [change for change in self.changes if when.holds(change.date)]
        commits = ancestry.commits(self.folder, [self.released.tags[version].commit for version in versions])
        messages = ancestry.commits(self.folder, [change.commit for change in changed])
        events = [self._release(version, commits[self.released.tags[version].commit]) for version in versions]
        for change in changed:
            events += self._changed(change, messages[change.commit])
        return tuple(sorted(events, key=lambda event: lineage_stays.moment(event.date)))

    def _release(self, version: Version, commit: Commit) -> Event:
        tag, stays = self.released.tags[version], [stay for stay in self.stays if stay.version == version.label]
        followed = tuple(stay.environment for stay in stays if stay.commit is None and stay.since == tag.date)
        evidence = self.evidence(version)
        review, unknown = self._review(version, commit, trusted=evidence is not None and evidence.refused is None)
        return Event(
            kind="release",
            date=tag.date,
            actor=clean(tag.tagger),
            commit=tag.commit,
            version=version.label,
            declared=version.label,
            before=judge.NOTHING,
            environments=followed,
            review=review,
            needed=self._needed(tag.commit, followed),
            reached=bool(stays),
            unknown=unknown,
            evidence=evidence,
        )

    def _changed(self, change: DeclaredChange, commit: Commit) -> Iterator[Event]:
        """Yield the event of another version, and that of a candidate which the same commit brings, or takes away."""
        before, after = change.before, change.after
        moved, tried = before.version != after.version, after.candidate is not None
        if moved:
            yield self._change(change, commit)
        if not moved or (tried and before.candidate != after.candidate):
            yield self._rollout(change, commit)

    def _change(self, change: DeclaredChange, commit: Commit) -> Event:
        before, after = (self._at(side.version, change.date) for side in (change.before, change.after))
        back = before is not None and after is not None and after < before
        review, unknown = self._review(None, commit, trusted=False)
        return Event(
            kind="withdrawal" if change.after.version is None else "rollback" if back else "promotion",
            date=change.date,
            actor=clean(change.author),
            commit=change.commit,
            version=after.label if after else None,
            declared=_shown(change.after.version, after),
            before=_shown(change.before.version, before),
            environments=(change.environment,),
            review=review,
            needed=self._needed(change.commit, (change.environment,)),
            reached=True,
            unknown=unknown,
            evidence=self.evidence(after) if after else None,
            automatic=self._automatic(change),
        )

    def _rollout(self, change: DeclaredChange, commit: Commit) -> Event:
        """Return the event of a change that leaves the version alone: of its rollout, or of what is held."""
        candidate = change.after.candidate
        version = Version(self.released.name, candidate.version) if candidate else None
        review, unknown = self._review(None, commit, trusted=False)
        return Event(
            kind="rollout",
            date=change.date,
            actor=clean(change.author),
            commit=change.commit,
            version=version.label if version else None,
            declared=str(change.after),
            before=str(change.before),
            environments=(change.environment,),
            review=review,
            needed=self._needed(change.commit, (change.environment,)),
            reached=True,
            unknown=unknown,
            evidence=self.evidence(version) if version else None,
            automatic=self._automatic(change),
        )

    def _at(self, desired: Desired, date: str) -> Version | None:
        """Return the version that `desired` meant at that time."""
        if isinstance(desired, int):
            return Version(self.released.name, desired)
        earlier = (
            release.version
            for release in self.released.dated
            if lineage_stays.moment(release.date) <= lineage_stays.moment(date)
        )
        return max(earlier, default=None) if desired == LATEST else None

    def evidence(self, version: Version) -> VersionEvidence | None:
        """Return the evidence for a version; None for one that was never released."""
        if version not in self.released.tags:
            return None
        if version not in self.evidences:
            commit = self.released.tags[version].commit
            files = repository.files_at(self.folder, [commit], [paths.GATES_REPORT])[commit]
            signer, refused = self.released.verified(self.folder, version)
            self.evidences[version] = judge.evidence(signer, refused, facts.judged(files))
        return self.evidences[version]

    def _review(self, version: Version | None, commit: Commit, *, trusted: bool) -> tuple[Reviewed | None, str | None]:
        """Return the pull request of a commit of the trunk, and why it is not known who approved."""
        announced = self.released.announced.get(version) if version else None
        if announced and announced.review and trusted:
            review = announced.review
            return Reviewed(review.number, "signed", None, review.author, review.approvers), None
        forge = None if self.failed else self.forge
        reviewed, unknown = trace.reviewed(commit, self.released, forge)
        if unknown and forge is not None and unknown != trace.NONE:
            self.failed = (unknown,)
        return reviewed, unknown

    def _needed(self, commit: str, environments: tuple[str, ...]) -> bool:
        """Tell whether conf/deploy asks for an approval; what the commit itself has dropped still counts."""
        targets = self._targets((commit, f"{commit}^"), environments)
        return any(target.merge == "approval" for target in targets)

    def _automatic(self, change: DeclaredChange) -> bool:
        """Tell whether conf/deploy, as it was before, lets a rollout go this way by a commit of a workflow."""
        targets = self._targets((f"{change.commit}^",), (change.environment,))
        rollouts = [target.rollout for target in targets if target.rollout]
        return any(course.may_commit(change.before, change.after, rollout) for rollout in rollouts)

    def _targets(self, at: Sequence[str], environments: Sequence[str]) -> list[DeployTarget]:
        files = repository.files_at(self.folder, at, [paths.PARAMS])
        declared = [releases.promoted(mapping(files[revision], paths.PARAMS) or {}) for revision in at]
        targets = [deploy.environments.get(name) for deploy in declared if deploy for name in environments]
        return [target for target in targets if target is not None]

    def rewritten(self, before: str | None) -> tuple[Violation, ...]:
        """Return the signs that the trunk's history was rewritten; `before` is its earlier tip."""
        tip, tags = self.released.trunk.tip, self.released.tags
        lost = set(ancestry.outside(self.folder, [tag.commit for tag in tags.values()], tip))
        violations = [
            Violation(
                "history", version.label, tag.commit, "its commit is not in the trunk's history: it was rewritten"
            )
            for version, tag in sorted(tags.items())
            if tag.commit in lost
        ]
        why = "was on the trunk when this clone fetched it, and is not in its history any more: it was rewritten"
        before_it = ancestry.outside(self.folder, [before] if before else [], tip)
        dropped = dict.fromkeys((*ancestry.dropped(self.folder, self.released.trunk), *before_it))
        return (*violations, *(Violation("history", self.released.trunk.ref, commit, why) for commit in dropped))

    def guards(self) -> tuple[Guard, ...]:
        """Return what the forge enforces on the trunk and on the tags of versions."""
        if self.forge is None or self.failed:
            return judge.guards(None, "the forge was not asked" if self.forge is None else "the forge does not answer")
        try:
            return judge.guards(self.forge.guards(self.released.branch, f"{self.released.name}@v1"), None)
        except OutsideError as error:
            self.failed = (f"the forge could not be asked: {clean(str(error))}",)
            return judge.guards(None, "the forge could not be asked")


def _shown(desired: Desired, version: Version | None) -> str:
    if desired == LATEST:
        return f"{LATEST} ({version.label})" if version else LATEST
    return version.label if version else judge.NOTHING
