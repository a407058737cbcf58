"""What a promotion or a rollback is, and the evidence for it in Markdown, as its pull request shows it. Pure.

What others wrote (titles, reasons, keys) is escaped.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trunkline.adapters.git.messages import LandedCommit
from trunkline.conf.registry import LATEST, PRODUCTION, Desired
from trunkline.conf.versions import Version
from trunkline.deploy.moves import Kind
from trunkline.pipeline.evaluate.estimate import Estimate, words
from trunkline.pipeline.reports import GatesReport
from trunkline.show.differences import Difference, shown
from trunkline.show.markdown import code, plain, table, text

REASON = 2_000  # characters of a reason


@dataclass(frozen=True)
class Holdout:
    """The rows that a version was measured on: their window, how many, and the hash of the data that they are of."""

    window: str
    rows: int
    data: str


@dataclass(frozen=True)
class MeasuredVersion:
    """A version, and what its commit says of it; `holdout` is None where that cannot be read."""

    version: Version
    commit: str
    trained: str
    holdout: Holdout | None
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class ProposalEvidence:
    """The evidence for a promotion or a rollback.

    `before` and `after` are what the registry file says of the environment, `label` what is asked for, such as v4 or
    latest. `present` is what the environment runs now; `merged` is what the trunk has between both, newest first, which
    is taken back where the new version is the older one (`back`). `begins` says that the version is only tried at
    first, and how; `taken_back` is a candidate whose rollout this ends. `rehearsed` counts the golden rows that the
    bundle has just scored correctly. `tried` is what became of it as a candidate elsewhere: headings with Markdown.
    """

    kind: Kind
    environment: str
    before: str
    after: str
    label: str
    new: MeasuredVersion
    present: MeasuredVersion | None
    digest: str
    signer: str
    gates: GatesReport
    merged: Sequence[LandedCommit]
    config: Sequence[Difference]
    back: bool
    ran_before: bool = False
    rehearsed: int | None = None
    begins: str = ""
    taken_back: str = ""
    tried: Sequence[tuple[str, str]] = ()
    reason: str = ""


def runs(
    line: Iterable[str], name: str, declared: Mapping[str, Desired], tagged: Mapping[str, Version]
) -> list[Version | None]:
    """Return what an environment has run, each change once, along the trunk's commits from the oldest to the newest.

    `declared` has the commits that changed the declaration, `tagged` those of versions, by which `latest` is decided.
    """
    environments: list[Version | None] = []
    desired: Desired = None
    newest: Version | None = None
    for commit in line:
        desired = declared.get(commit, desired)
        newest = max(filter(None, (newest, tagged.get(commit))), default=None)
        version = newest if desired == LATEST else Version(name, desired) if isinstance(desired, int) else None
        if not environments or environments[-1] != version:
            environments.append(version)
    return environments


def previous(versions: Sequence[Version | None]) -> Version | None:
    """Return the version to roll back to: the one that ran before the present one; None if there is none.

    One that was rolled back is not it: after v3, v4, v3 it is what ran before v3, and never v4 again.
    """
    kept: list[Version] = []
    for version in filter(None, versions):
        if version in kept:
            del kept[kept.index(version) + 1 :]
        else:
            kept.append(version)
    if versions and versions[-1] is None:
        return kept[-1] if kept else None
    return kept[-2] if len(kept) > 1 else None


def branch(kind: Kind, environment: str, label: str) -> str:
    """Return the name of the branch, which depends on nothing else."""
    return f"{kind}/{environment}-{label}"


def title(evidence: ProposalEvidence) -> str:
    """Return the title of the pull request, and the subject of its commit."""
    which = f"{evidence.new.version.name} {evidence.label}"
    if evidence.begins:
        return f"Begin the rollout of {which} to {evidence.environment}"
    if evidence.kind == "promote":
        return f"Promote {which} to {evidence.environment}"
    if evidence.taken_back and evidence.present and evidence.present.version == evidence.new.version:
        return f"Take {evidence.new.version.name} {evidence.taken_back} back from {evidence.environment}"
    return f"Roll {evidence.environment} back to {which}"


def message(evidence: ProposalEvidence) -> str:
    """Return the message of the commit."""
    why = f"Reason: {plain(evidence.reason, REASON).strip()}\n" if evidence.reason.strip() else ""
    relation = "Beside" if evidence.begins else "In place of"
    return f"{title(evidence)}\n\n{relation} {evidence.before}. Bundle: {evidence.digest}\n{why}"


def body(evidence: ProposalEvidence) -> str:
    """Return the text of the pull request."""
    before, after = f"{evidence.environment}: {evidence.before}", f"{evidence.environment}: {evidence.after}"
    version, present = evidence.new.version, evidence.present
    if present is None:
        instead = ", which runs nothing yet"
    elif evidence.begins:
        instead = f", beside {present.version.label}"
    elif present.version == version:
        instead = ", which runs it already and is declared in another way"
    else:
        instead = f", in place of {present.version.label}"
    parts = [
        f"**{version.name} {version.label}** for {code(evidence.environment)}{instead}.",
        f"One value of `models/registry.yaml` changes: {code(before)} → {code(after)}.",
        *([f"\nIt is tried first: {text(evidence.begins)}."] if evidence.begins else []),
        *([f"\n{_taken_back(evidence)}"] if evidence.taken_back else []),
        *([f"\nReason: {text(evidence.reason, REASON)}"] if evidence.reason.strip() else []),
        *(f"\n### {heading}\n\n{content}" for heading, content in _sections(evidence)),
    ]
    return "\n".join(parts) + "\n"


def _taken_back(evidence: ProposalEvidence) -> str:
    label = code(evidence.taken_back)
    return f"This ends the rollout of {label}, which is held: nothing promotes it here until a person lifts the hold."


def _sections(evidence: ProposalEvidence) -> Iterator[tuple[str, str]]:
    if evidence.kind == "rollback":
        yield "Checked before this was opened", _checked(evidence)
        if evidence.merged:
            yield "What is taken back", _merged(evidence.merged)
        return
    yield "Measured", _measured(evidence)
    yield "Gates that block", _gates(evidence)
    yield from evidence.tried
    if evidence.present is not None:
        yield ("What is taken back" if evidence.back else "What was merged"), _merged(evidence.merged)
        changed = ((code(item.key), code(shown(item.before)), code(shown(item.after))) for item in evidence.config)
        content = table(("key", "present", "new"), changed) if evidence.config else "Nothing."
        yield "What differs in conf/", content


def _checked(evidence: ProposalEvidence) -> str:
    label = evidence.new.version.label
    ran = "ran here before" if evidence.ran_before else "has **never run here**"
    rows = "1 golden row its score" if evidence.rehearsed == 1 else f"its {evidence.rehearsed} golden rows their scores"
    return "\n".join(
        [
            f"- {label} {ran}; its commit is {code(evidence.new.commit[:10])}.",
            f"- It is signed by {code(evidence.signer)}, and the verdict of its gates is {evidence.gates.verdict}.",
            f"- Its bundle {code(evidence.digest[:12])} could be fetched and loaded, and gives {rows}.",
            "- No other model is made, so the check does not wait for a verdict on the trunk's own.",
        ]
    )


def _measured(evidence: ProposalEvidence) -> str:
    sides = [evidence.new] if evidence.present is None else [evidence.present, evidence.new]
    holdouts = [side.holdout for side in sides]
    names = list(dict.fromkeys(name for side in sides for name in side.metrics))
    rows = [
        ["commit", *(code(side.commit[:10]) for side in sides)],
        ["trained on", *(code(side.trained) for side in sides)],
        ["measured on", *(f"{part.rows:,} rows of {code(part.window)}" if part else "not known" for part in holdouts)],
        *([text(name), *(_estimate(side.metrics.get(name)) for side in sides)] for name in names),
    ]
    head = ["", *(side.version.label for side in sides)]
    facts = f"Bundle {code(evidence.digest)}, signed by {code(evidence.signer)}."
    return "\n\n".join(filter(None, [table(head, rows), _comparable(evidence), facts]))


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "—"
    interval = "" if estimate.interval is None else f" ({estimate.interval[0]:.4f} to {estimate.interval[1]:.4f})"
    return f"{text(words(estimate))}{interval}"


def _comparable(evidence: ProposalEvidence) -> str:
    """Say whether the two columns may be compared: one holdout, or the difference may be that of the rows."""
    if evidence.present is None:
        return ""
    old, new = evidence.present.holdout, evidence.new.holdout
    if old is not None and old == new:
        return "Both are measured on the same rows, each at its own commit; intervals are of each alone."
    if old is not None and new is not None and (old.window, old.rows) == (new.window, new.rows):
        return "**The data of the holdouts differ**, though not their window: a difference may be that of the rows."
    return "**The holdouts differ**: a difference between the columns may be that of the rows."


def _gates(evidence: ProposalEvidence) -> str:
    judged = evidence.gates
    beside = f"beside {code(judged.champion.version)}" if judged.champion else "while production had none"
    blocking = [verdict for verdict in judged.gates if verdict.blocking and verdict.verdict != "not_applicable"]
    marks = {"fail": "❌", "pass": "✅"}
    rows = (
        (marks[verdict.verdict], code(" ".join(filter(None, [verdict.id, verdict.slice]))), text(verdict.reason))
        for verdict in blocking
    )
    return f"Verdict: {judged.verdict}, {beside}.{_other(evidence)}\n\n{table(('', 'rule', 'why'), rows)}"


def _other(evidence: ProposalEvidence) -> str:
    """Say where the gates compared with another version than the one that is replaced."""
    against, present = evidence.gates.champion, evidence.present
    if (
        present is None
        or against is None
        or evidence.environment != PRODUCTION
        or against.version == present.version.tag
    ):
        return ""
    return f" **That is not {present.version.label}**, which it replaces."


def _merged(merged: Sequence[LandedCommit]) -> str:
    pulls = [commit for commit in merged if commit.reference]
    alone = len(merged) - len(pulls)
    rows = ((commit.reference or "", text(commit.title)) for commit in pulls)
    listed = table(("pull request", "title"), rows) if pulls else "No pull request."
    return f"{listed}\n\nCommits without one: {alone}." if alone else listed
