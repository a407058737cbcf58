"""Releases, promotions and rollbacks judged: what reached an environment, on whose word, and what should not have.

Pure: it is given events as git, the tags and the forge tell them. What nobody could tell is named, and is no violation;
what can be checked and is not as it should be, is one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from trunkline.adapters.forge.api import Guards
from trunkline.lineage.chain import Judged, Reviewed

CHECK = "trunkline"

Kind = Literal["release", "promotion", "rollback", "withdrawal", "rollout"]
NOTHING = "nothing"  # what an environment without a version runs

Rule = Literal["pull request", "approval", "chain", "verdict", "tag", "version", "history", "guard"]


@dataclass(frozen=True)
class VersionEvidence:
    """What speaks for a version: who signed it or why it is refused, and how many blocking verdicts there are."""

    signer: str | None
    refused: str | None
    verdict: Literal["pass", "fail"] | None
    passed: int
    blocking: int


@dataclass(frozen=True)
class Event:
    """A version that was released or an environment that was to run another one; times are ISO 8601.

    `environments` are those that it is of: of a release, those that followed it at once. `version` is a label such as
    v3, None for nothing, and of a rollout its candidate; `declared` and `before` are as a person reads them: v3, latest
    (v3), nothing, of a rollout what the registry file says. `needed` says whether conf/deploy asked for an approval,
    `automatic` whether it lets a rollout go on by a commit, `reached` whether an environment has come to run it.
    `unknown` is why it is not known who approved, None where it is.
    """

    kind: Kind
    date: str
    actor: str
    commit: str
    version: str | None
    declared: str
    before: str
    environments: tuple[str, ...]
    review: Reviewed | None
    needed: bool
    reached: bool
    unknown: str | None
    evidence: VersionEvidence | None
    automatic: bool = False


@dataclass(frozen=True)
class Violation:
    """Something that should not be: by which rule, what of, at which commit, and why."""

    rule: Rule
    subject: str
    commit: str | None
    why: str


@dataclass(frozen=True)
class Guard:
    """What keeps violations from happening: whether it is there, None where nobody could see, and what mends it."""

    name: str
    answer: bool | None
    detail: str
    remedy: str


@dataclass(frozen=True)
class Audit:
    """What happened between two moments, oldest first, what of it should not have, and what guards the trunk.

    `unknown` are things that are not known here, and how to know them; `failed` says that something was asked and did
    not answer.
    """

    trunk: str
    since: str
    until: str | None
    events: tuple[Event, ...]
    violations: tuple[Violation, ...]
    guards: tuple[Guard, ...]
    unknown: tuple[str, ...]
    failed: bool


def content(audit: Audit) -> dict[str, Any]:
    """Return an audit as plain content."""
    return asdict(audit)


def evidence(signer: str | None, refused: str | None, judged: Judged | None) -> VersionEvidence:
    """Return the evidence for a version: its chain and the verdict of its commit."""
    rules = [rule for rule in (judged.rules if judged else ()) if rule.blocking and rule.verdict != "not_applicable"]
    passed = sum(rule.verdict == "pass" for rule in rules)
    return VersionEvidence(signer, refused, judged.verdict if judged else None, passed, len(rules))


def judge(events: Sequence[Event]) -> tuple[Violation, ...]:
    """Return the violations, in the order of the events; those of a version once."""
    violations = [violation for event in events for violation in (*_arrived(event), *_of_version(event))]
    return tuple(dict.fromkeys(violations))


def subject(event: Event) -> str:
    """Return what an event is of, such as `production: v3 → v2`."""
    if event.kind == "release":
        return event.declared
    return f"{', '.join(event.environments)}: {event.before} → {event.declared}"


def _arrived(event: Event) -> Iterator[Violation]:
    if (event.kind == "release" and not event.reached) or (event.version is None and event.before == NOTHING):
        return
    if event.review is None and event.automatic:
        return
    if event.review is None:
        yield _violation("pull request", event, "reached the trunk without a pull request: a direct push")
    elif event.needed and event.review.approvers is not None:
        approvers = {name.casefold() for name in event.review.approvers}
        if not approvers:
            others = "its author's own, stale ones and strangers' do not"
            yield _violation("approval", event, f"#{event.review.number} has no approval that counts ({others})")
        elif approvers == {(event.review.author or "").casefold()}:
            yield _violation("approval", event, f"#{event.review.number} was approved by its own author only")


def _of_version(event: Event) -> Iterator[Violation]:
    if event.version is None:
        return
    if event.evidence is None:
        why = "was never released: no annotated tag of this version is here"
        yield Violation("version", event.version, event.commit, why)
        return
    if event.evidence.refused:
        yield Violation("chain", event.version, None, event.evidence.refused)
    if event.evidence.verdict != "pass":
        why = f"the verdict of its commit is {event.evidence.verdict or 'not there'}, not pass"
        yield Violation("verdict", event.version, None, why)


def _violation(rule: Rule, event: Event, why: str) -> Violation:
    return Violation(rule, subject(event), event.commit, why)


# What guards the trunk

_REMEDIES = {
    "pull request required": "GitHub ruleset: Require a pull request before merging; GitLab: Allowed to push: No one",
    "approval required": "GitHub ruleset: Required approvals: 1; GitLab: Settings, Merge requests, Approval rules",
    "code owners must approve": "GitHub ruleset: Require review from Code Owners; GitLab: Code owner approval",
    f"check {CHECK} required": f"GitHub ruleset: Require status checks: {CHECK}; GitLab: Pipelines must succeed",
    "force pushes blocked": "GitHub ruleset: Block force pushes; GitLab: Allowed to force push: off",
    "deletion blocked": "GitHub ruleset: Restrict deletions; GitLab: Settings, Repository, Protected branches",
    "version tags protected": "GitHub tag ruleset for *@v*: Restrict updates and deletions; GitLab: Protected tags",
}


def guards(reported: Guards | None, why: str | None) -> tuple[Guard, ...]:
    """Return what the forge enforces; `why` says why it is not known where nothing was found."""
    if reported is None:
        return tuple(Guard(name, None, why or "", remedy) for name, remedy in _REMEDIES.items())
    unseen = None if reported.checks is None else CHECK in reported.checks
    answers = (
        (reported.pull_request_required, ""),
        (None if reported.approvals is None else reported.approvals > 0, f"{reported.approvals or 0} of them"),
        (reported.code_owners, ""),
        (unseen, f"required are: {', '.join(reported.checks or ()) or 'none'}"),
        (reported.force_push_blocked, ""),
        (reported.deletion_blocked, ""),
        (reported.tags_protected, ""),
    )
    return tuple(
        Guard(name, answer, detail if answer is not None else "cannot be seen with this token", remedy)
        for (name, remedy), (answer, detail) in zip(_REMEDIES.items(), answers, strict=True)
    )


def owned(path: str, owners: Sequence[str], where: str | None) -> Guard:
    """Return whether CODEOWNERS at the trunk's tip names who must approve changes of a path."""
    name = f"{path} has an owner"
    detail = f"{', '.join(owners)} by {where}" if owners else f"not in {where}" if where else "there is no CODEOWNERS"
    return Guard(name, bool(owners), detail, f"add to {where or '.github/CODEOWNERS'} a line: /{path} @OWNER")


def strict(audit: Audit) -> Audit:
    """Return an audit for which a guard that is missing, or cannot be seen, is a violation."""
    missing = (guard for guard in audit.guards if not guard.answer)
    violations = [Violation("guard", guard.name, None, guard.detail or f"no; {guard.remedy}") for guard in missing]
    return replace(audit, violations=(*audit.violations, *violations))
