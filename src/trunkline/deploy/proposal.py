"""What a promotion or a rollback is, and the evidence for it in Markdown, as its pull request shows it. Pure.

Texts of others (titles, reasons, keys) are written so that they stay text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trunkline.adapters.git.messages import Brought
from trunkline.conf.registry import LATEST, PRODUCTION, Desired
from trunkline.conf.versions import Version
from trunkline.deploy.moves import Kind
from trunkline.pipeline.reports import Estimate, Gates
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
class Measured:
    """A version, and what its commit says of it; `holdout` is None where that is in no form that is understood."""

    version: Version
    commit: str
    trained: str
    holdout: Holdout | None
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class Evidence:
    """What there is to know of a promotion or a rollback.

    `present` is what the environment runs now; `merged` is what the trunk has between both, newest first, which is
    taken back where the new version is the older one (`back`). `rehearsed` counts the golden rows that the bundle has
    just scored rightly.
    """

    kind: Kind
    environment: str
    before: str
    after: str
    new: Measured
    present: Measured | None
    digest: str
    signer: str
    gates: Gates
    merged: Sequence[Brought]
    config: Sequence[Difference]
    back: bool
    ran_before: bool = False
    rehearsed: int | None = None
    reason: str = ""


def runs(
    line: Iterable[str], name: str, declared: Mapping[str, Desired], tagged: Mapping[str, Version]
) -> list[Version | None]:
    """Return what an environment has run, each change once, along the trunk's commits from the oldest to the newest.

    `declared` has the commits that changed the declaration, `tagged` those of versions, by which `latest` is decided.
    """
    found: list[Version | None] = []
    desired: Desired = None
    newest: Version | None = None
    for commit in line:
        desired = declared.get(commit, desired)
        newest = max(filter(None, (newest, tagged.get(commit))), default=None)
        version = newest if desired == LATEST else Version(name, desired) if isinstance(desired, int) else None
        if not found or found[-1] != version:
            found.append(version)
    return found


def previous(found: Sequence[Version | None]) -> Version | None:
    """Return the version to roll back to: the one that ran before the present one; None if there is none.

    One that was rolled back is not it: after v3, v4, v3 it is what ran before v3, and never v4 again.
    """
    kept: list[Version] = []
    for version in filter(None, found):
        if version in kept:
            del kept[kept.index(version) + 1 :]
        else:
            kept.append(version)
    if found and found[-1] is None:
        return kept[-1] if kept else None
    return kept[-2] if len(kept) > 1 else None


def branch(kind: Kind, environment: str, after: str) -> str:
    """Return the name of the branch, the same for the same wish."""
    return f"{kind}/{environment}-{after}"


def title(found: Evidence) -> str:
    """Return the title of the pull request, and the subject of its commit."""
    which = f"{found.new.version.name} {found.after}"
    if found.kind == "promote":
        return f"Promote {which} to {found.environment}"
    return f"Roll {found.environment} back to {which}"


def message(found: Evidence) -> str:
    """Return the message of the commit."""
    why = f"Reason: {plain(found.reason, REASON).strip()}\n" if found.reason.strip() else ""
    return f"{title(found)}\n\nIn place of {found.before}. Bundle: {found.digest}\n{why}"


def body(found: Evidence) -> str:
    """Return the text of the pull request."""
    parts = [*_opening(found), *(f"\n### {heading}\n\n{content}" for heading, content in _sections(found))]
    return "\n".join(parts) + "\n"


def _opening(found: Evidence) -> Iterator[str]:
    where = f"{found.environment}: {found.before}", f"{found.environment}: {found.after}"
    yield f"**{found.new.version.name} {found.new.version.label}** for {code(found.environment)}{_in_place(found)}."
    yield f"One value of `models/registry.yaml` changes: {code(where[0])} → {code(where[1])}."
    if found.reason.strip():
        yield f"\nReason: {text(found.reason, REASON)}"


def _in_place(found: Evidence) -> str:
    if found.present is None:
        return ", which runs nothing yet"
    if found.present.version == found.new.version:
        return ", which runs it already and is declared in another way"
    return f", in place of {found.present.version.label}"


def _sections(found: Evidence) -> Iterator[tuple[str, str]]:
    if found.kind == "rollback":
        yield "Checked before this was opened", _checked(found)
        if found.merged:
            yield "What is taken back", _merged(found.merged)
        return
    yield "Measured", _measured(found)
    yield "Gates that block", _gates(found)
    if found.present is not None:
        yield ("What is taken back" if found.back else "What was merged"), _merged(found.merged)
        yield "What differs in conf/", _config(found.config)


def _checked(found: Evidence) -> str:
    label = found.new.version.label
    ran = "ran here before" if found.ran_before else "has **never run here**"
    rows = "1 golden row its score" if found.rehearsed == 1 else f"its {found.rehearsed} golden rows their scores"
    return "\n".join(
        [
            f"- {label} {ran}; its commit is {code(found.new.commit[:10])}.",
            f"- It is signed by {code(found.signer)}, and the verdict of its gates is {found.gates.verdict}.",
            f"- Its bundle {code(found.digest[:12])} could be fetched and loaded, and gives {rows}.",
            "- No other model is made, so the check does not wait for a verdict on the trunk's own.",
        ]
    )


def _measured(found: Evidence) -> str:
    sides = [found.new] if found.present is None else [found.present, found.new]
    names = list(dict.fromkeys(name for side in sides for name in side.metrics))
    rows = [
        ["commit", *(code(side.commit[:10]) for side in sides)],
        ["trained on", *(code(side.trained) for side in sides)],
        ["measured on", *(_rows(side.holdout) for side in sides)],
        *([text(name), *(_estimate(side.metrics.get(name)) for side in sides)] for name in names),
    ]
    head = ["", *(side.version.label for side in sides)]
    facts = f"Bundle {code(found.digest)}, signed by {code(found.signer)}."
    return "\n\n".join(filter(None, [table(head, rows), _comparable(found), facts]))


def _rows(holdout: Holdout | None) -> str:
    return "not known" if holdout is None else f"{holdout.rows:,} rows of {code(holdout.window)}"


def _estimate(found: Estimate | None) -> str:
    if found is None or found.value is None:
        return "—"
    interval = "" if found.interval is None else f" ({found.interval[0]:.4f} to {found.interval[1]:.4f})"
    return f"{found.value:.4f}{interval}"


def _comparable(found: Evidence) -> str:
    """Say whether the two columns may be compared: one holdout, or the difference may be that of the rows."""
    if found.present is None:
        return ""
    old, new = found.present.holdout, found.new.holdout
    if old is not None and old == new:
        return "Both are measured on the same rows, each at its own commit; intervals are of each alone."
    if old is not None and new is not None and (old.window, old.rows) == (new.window, new.rows):
        return "**The data of the holdouts differ**, though not their window: a difference may be that of the rows."
    return "**The holdouts differ**: a difference between the columns may be that of the rows."


def _gates(found: Evidence) -> str:
    judged = found.gates
    beside = f"beside {code(judged.champion.version)}" if judged.champion else "while production had none"
    blocking = [one for one in judged.gates if one.blocking and one.verdict != "not_applicable"]
    marks = {"fail": "❌", "pass": "✅"}
    rows = (
        (marks[one.verdict], code(" ".join(filter(None, [one.id, one.slice]))), text(one.reason)) for one in blocking
    )
    return f"Verdict: {judged.verdict}, {beside}.{_other(found)}\n\n{table(('', 'rule', 'why'), rows)}"


def _other(found: Evidence) -> str:
    """Say where the gates compared with another version than the one that is replaced."""
    against, present = found.gates.champion, found.present
    if present is None or against is None or found.environment != PRODUCTION or against.version == present.version.tag:
        return ""
    return f" **That is not {present.version.label}**, which it replaces."


def _merged(merged: Sequence[Brought]) -> str:
    pulls = [one for one in merged if one.reference]
    alone = len(merged) - len(pulls)
    rows = ((one.reference or "", text(one.title)) for one in pulls)
    listed = table(("pull request", "title"), rows) if pulls else "No pull request."
    return f"{listed}\n\nCommits without one: {alone}." if alone else listed


def _config(config: Sequence[Difference]) -> str:
    if not config:
        return "Nothing."
    rows = ((code(one.key), code(shown(one.before)), code(shown(one.after))) for one in config)
    return table(("key", "present", "new"), rows)
