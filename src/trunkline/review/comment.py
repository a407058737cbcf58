"""The comment on a pull request, in GitHub's Markdown: "may I merge this?" in five seconds, "why?" in sixty.

Texts of others (keys, labels, reasons, names of branches) are written by `markdown`, so that they stay text. Every
section has a budget, and the whole stays below what GitHub takes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from trunkline.deploy import moves as deploy_moves
from trunkline.pipeline.evaluate.estimate import words
from trunkline.pipeline.plan.reasons import Step
from trunkline.pipeline.reports import Verdict
from trunkline.review import backtest, decision, mermaid, problem, reasons
from trunkline.review.data import Moved, Review
from trunkline.review.figures import number, span
from trunkline.show.differences import shown
from trunkline.show.markdown import code, table, text

LIMIT = 65_536  # characters that GitHub takes
SLICES = 8
# Honest results differ where a processor computes with other instructions.
REMEDY = (
    "The same inputs give other bytes than the commit has. Let the runner's results replace them, or run `dvc repro` "
    "on a processor of its kind, and commit."
)
NO_CHAMPION = "none in production yet: the rules judge this model alone, until a version is promoted"
MADE_OF_OUTCOMES = (
    "Made of outcomes, and declared as known when the prediction is made. Nothing can check these reasons; read them:"
)
MOST, STAGES = 4, 30  # conflicts or changes of a factor by name, and stages that the merged tree would run
_MARKS = {"stale": "⚠️", "blocked": "❌", "free": "✅"}


@dataclass(frozen=True)
class Headline:
    """The answer to "may I merge this?": in a few words, and why."""

    state: Literal["stale", "blocked", "free"]
    answer: str
    why: str


def render(review: Review, page: str | None = None) -> str:
    """Return the comment; sections that would make it too long are left out from the end, and said to be.

    `page` is the name of the HTML report beside it, which has everything.
    """
    parts = list(_headline(review))
    if page is not None:
        parts.append(f"\nEverything, with pictures, is in {code(page)}.")
    left: list[str] = []
    for title, body in _sections(review):
        section = f"\n### {title}\n\n{body}"
        if sum(map(len, parts)) + len(section) > LIMIT - 2_000:
            left.append(title)
        else:
            parts.append(section)
    if left:
        parts.append(f"\nLeft out, since the comment is full: {', '.join(left)}.")
    return "\n".join(parts).rstrip() + "\n"


def _headline(review: Review) -> Iterator[str]:
    said = verdict(review, code)
    yield f"## {_MARKS[said.state]} {said.answer}: {said.why}"
    yield ""
    dirty = ", with changes that are not committed" if review.dirty else ""
    here = f"{code(review.name)} at {code(review.head[:10])}{dirty}"
    yield f"{here}, against {code(review.base[:10])} of {code(review.target)}. {kind(review, code)}"
    if review.search:
        yield f"\nSearch: {text(review.search.line)}."
    if review.behind:
        commits = "1 commit" if review.behind == 1 else f"{review.behind} commits"
        moved = f"{code(review.target)} has moved on by {commits} since: the merged tree is another one."
        yield f"\n> {moved} {_merged(review)}"


def kind(review: Review, quoted: Callable[[str], str]) -> str:
    """Say what kind of change it is: what it declares, or also what computes and judges that."""
    rules = f" It changes the rules that judge it: {_some(review.rules, MOST, quoted)}." if review.rules else ""
    if not review.code.files:
        return f"It changes declared state only.{rules}"
    names = _some(review.code.files, MOST, quoted)
    owners = (
        f"{_some(review.code.owners, MOST, quoted)} must approve" if review.code.owners else "no code owner is named"
    )
    return f"It changes what computes or judges, which only review protects: {names} ({owners}).{rules}"


def _merged(review: Review) -> str:
    """Say what has to be done about the merged tree."""
    merge = review.merge
    if merge is None:
        return "Merge it into the branch and run `dvc repro` to see its verdict."
    if merge.conflicts:
        more = f" and {len(merge.conflicts) - MOST} more" if len(merge.conflicts) > MOST else ""
        return f"The merge has conflicts, in {', '.join(map(code, merge.conflicts[:MOST]))}{more}."
    if not merge.steps:
        return "Nothing would run on it: its results are there already."
    steps = ", ".join(
        f"{code(step.name)} ({'; '.join(code(reason, 90) for reason in step.reasons[:2])})"
        if step.reasons
        else code(step.name)
        for step in merge.steps[:STAGES]
    )
    more = f" and {len(merge.steps) - STAGES} more" if len(merge.steps) > STAGES else ""
    return (
        f"These stages would run on it: {steps}{more}. Merge it into the branch and run `dvc repro` to see its verdict."
    )


def verdict(review: Review, quoted: Callable[[str], str]) -> Headline:
    """Return whether the commit may be merged; `quoted` writes names, some of which are the texts of others."""
    if review.stale:
        count = "1 stage has" if len(review.stale) == 1 else f"{len(review.stale)} stages have"
        return Headline(
            "stale", "Not reproduced", f"{count} not run on this tree. Run {quoted('dvc repro')} and commit."
        )
    if review.refuted:
        claims = [f"{claim.path} of {claim.stage}" for claim in review.refuted]
        return Headline("blocked", "Do not merge", f"{_some(claims, 2, quoted)} is not what its inputs give")
    refused = next((move for move in review.moves if move.refused), None)
    if refused is not None:
        return Headline("blocked", "Do not merge", f"{quoted(refused.after)} is refused: {quoted(refused.refused)}")
    names = list(
        dict.fromkeys(gate.id for gate in review.reports.gates.gates if gate.verdict == "fail" and gate.blocking)
    )
    if names and not review.same_model:
        return Headline("blocked", "Do not merge", f"blocked by {_some(names, 3, quoted)}")
    passed = "ships no other model" if review.same_model else "all gates pass"
    if review.uncommitted:
        why = f"{passed}, but {_some(review.uncommitted, 1, quoted)} belong to no commit. Run {quoted('dvc repro')}"
        return Headline("stale", "Not committed", f"{why} and commit.")
    if review.same_model:
        return _unshipped(review, names, quoted)
    if problem.RENAMED in review.another:
        rules = "; changes the rules that judge it, and the base's have no say on another model" if review.rules else ""
        return Headline("free", "May be merged", f"{passed}; another problem than the base's: not comparable{rules}")
    first = f", {_metric_in_words(review.whole[0], quoted)}" if review.whole else ""
    if review.another:
        first = "; another problem than the base's: not comparable"
    rules = ", by the base's rules too; changes the rules that judge it" if review.rules else ""
    return Headline("free", "May be merged", f"{passed}{rules}{first}")


def _some(names: Sequence[str], most: int, quoted: Callable[[str], str]) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(map(quoted, names[:most]))}{more}"


def _unshipped(review: Review, blocking: Sequence[str], quoted: Callable[[str], str]) -> Headline:
    """Return the answer for a change that ships no other model, so that no verdict on one stops it."""
    trunk = f"; {_some(blocking, 3, quoted)} blocks the trunk's own model, which this does not ship" if blocking else ""
    if not review.moves:
        return Headline("free", "May be merged", f"ships no other model{trunk}")
    moves = ", ".join(deploy_moves.in_words(move, quoted) for move in review.moves[:MOST])
    chain = [
        f", {quoted(move.version)} {_chain(move, quoted)}"
        for move in review.moves[:MOST]
        if move.version and move.signer
    ]
    return Headline("free", moves, f"may be merged{''.join(chain)}{trunk}")


def _chain(move: deploy_moves.Move, quoted: Callable[[str], str]) -> str:
    return f"passed its gates and is signed by {quoted(move.signer)}"


def _metric_in_words(moved: Moved, quoted: Callable[[str], str]) -> str:
    if moved.now.value is None:
        return f"{quoted(moved.metric)} is undefined"
    value = number(moved.now)
    if moved.before is None or moved.better is None:
        return f"{quoted(moved.metric)} {value}"
    words = {True: "better" if moved.better > 0 else "worse", False: "within noise", None: "noise not known"}
    word = words[moved.clear] if moved.better else "the same"
    return f"{quoted(moved.metric)} {number(moved.before)} → {value} ({word})"


def _sections(review: Review) -> Iterator[tuple[str, str]]:
    if review.refuted:
        yield "Claims that do not hold", _refuted(review)
    if review.moves:
        yield "What runs where", _moves(review)
    rows = ((text(moved.metric), *_sides(moved), span(moved.now.interval), *_change(moved)) for moved in review.whole)
    metrics = table(("metric", "base", "this", "95 % interval", "change", ""), rows)
    yield "Metrics on the holdout", f"{metrics}\n\n{noise(review)}"
    if (decided := review.reports.decision.decided) is not None:
        yield "Decision by costs", decision.markdown(decided)
    if review.reports.backtest.origins:
        yield "Backtest", backtest.markdown(review.reports.backtest)
    if review.attribution or review.unattributed:
        yield "What moved it", _attribution(review)
    yield "Gates", _gates(review)
    yield "What changed in conf/", _config(review)
    yield "Plan", _plan(review)
    if any(moved.better for moved in review.slices):
        yield "Slices that moved most", _slices(review)
    if review.undefined_slices:
        yield "Slices where it is undefined", _undefined(review)
    charted = [curve for curve in review.curves if curve.kind in mermaid.CHARTS]
    if charted:
        yield "Curves", "\n\n".join(map(mermaid.chart, charted))
    if review.costs:
        costs = ((cost.name, text(cost.words), text(cost.of)) for cost in review.costs)
        yield "Cost", table(("of", "costs", "that is"), costs)
    yield "Data and bundle", _facts(review)
    steps = (
        f"git fetch origin {review.head} && git switch --detach FETCH_HEAD && make repro && .venv/bin/trunkline gate"
    )
    yield "Reproduce", f"```sh\n{steps}\n```"


def _refuted(review: Review) -> str:
    rows = (
        (code(claim.stage), code(claim.path), code(claim.claimed), code(claim.computed)) for claim in review.refuted
    )
    claims = table(("stage", "file", "in the commit", "when run here"), rows)
    return f"{claims}\n\n{REMEDY}"


def _moves(review: Review) -> str:
    rows = (
        (
            code(move.environment),
            code(move.before),
            code(move.after),
            text(move.refused) or _about(move),
        )
        for move in review.moves
    )
    return table(("environment", "base", "this", "the version"), rows)


def _about(move: deploy_moves.Move) -> str:
    words = [] if move.kind == "version" else [deploy_moves.in_words(move, code)]
    return "; ".join([*words, *([_chain(move, code)] if move.signer else [])])


def _sides(moved: Moved) -> tuple[str, str]:
    return text(number(moved.before)), text(number(moved.now))


def noise(review: Review) -> str:
    """Return what the intervals of the changes are, or why there are none."""
    if any(moved.interval for moved in review.whole):
        what = "its interval is of the same rows, paired, whole clusters resampled."
        return f"The change is positive for the better; {what}"
    if not any(moved.before for moved in review.whole):
        if review.another:
            keys = ", ".join(review.another)
            rules = "have no say on another model" if problem.RENAMED in review.another else "judge it all the same"
            return f"Another problem: not comparable with the base, for {keys} changed. The base's rules {rules}."
        return "The base has no metrics that could be compared with these: only the rules say whether they are enough."
    missing = "The base's scores are not in this cache or are of other rows, so nothing is said of noise."
    return f"The change is positive for the better. {missing}"


def _change(moved: Moved) -> tuple[str, str]:
    if moved.better is None:
        return "", "new" if moved.before is None else ""
    words = {True: "**better**" if moved.better > 0 else "**worse**", False: "within noise", None: ""}
    interval = f" ({span(moved.interval)})" if moved.interval and moved.better else ""
    return (f"{moved.better:+.4f}{interval}", words[moved.clear]) if moved.better else ("0", "the same")


def _attribution(review: Review) -> str:
    attribution = review.attribution
    if attribution is None or attribution.before is None or attribution.after is None:
        command = code(f"trunkline attribute --base {review.target}")
        return f"Not told apart: {text(review.unattributed)}. On a laptop: {command}"
    rows = [
        (text(share.factor), _few(share.changes), _signed(share.share, share.error)) for share in attribution.shares
    ]
    rows.append(("interaction", "what they do together only", _signed(attribution.interaction)))
    rows.append(("whole move", f"{attribution.before:.4f} → {attribution.after:.4f}", _signed(attribution.move)))
    notes = "".join(f"\n\nNote: {text(note)}." for note in attribution.notes)
    return f"{table(('factor', 'changed', f'{text(attribution.metric)}, alone'), rows)}{notes}"


def _signed(value: float | None, error: str = "") -> str:
    return f"cannot run alone: {text(error, 90)}" if error else "" if value is None else f"{value:+.4f}"


def _few(changes: Sequence[str]) -> str:
    more = [f"and {len(changes) - MOST} more"] if len(changes) > MOST else []
    return "; ".join([*(code(change, 90) for change in changes[:MOST]), *more])


def _gates(review: Review) -> str:
    judged = review.reports.gates
    champion = judged.champion
    against = f"{code(champion.version)}, bundle {code(champion.digest[:12])}" if champion else NO_CHAMPION
    marks = {"fail": "❌", "warn": "⚠️", "pass": "✅", "not_applicable": "—"}

    def rows(verdicts: Iterable[Verdict]) -> Iterator[tuple[str, str, str]]:
        for verdict in verdicts:
            mark = marks["warn" if verdict.verdict == "fail" and not verdict.blocking else verdict.verdict]
            yield mark, code(" ".join(filter(None, [verdict.id, verdict.slice]))), text(verdict.reason)

    failed = sorted((rule for rule in judged.gates if rule.verdict == "fail"), key=lambda rule: not rule.blocking)
    others = [rule for rule in judged.gates if rule.verdict != "fail"]
    head = ("", "rule", "why")
    shown_first = f"{table(head, rows(failed))}\n\n" if failed else ""
    folded = f"<details><summary>{len(others)} that did not fail</summary>\n\n{table(head, rows(others))}\n\n</details>"
    return f"Champion: {against}.\n\n{shown_first}{folded}"


def _config(review: Review) -> str:
    if not review.config:
        return "Nothing."
    rows = (
        (
            code(item.change.key),
            code(shown(item.change.before)),
            code(shown(item.change.after)),
            ", ".join(map(text, item.stages)),
        )
        for item in review.config
    )
    changed = table(("key", "base", "this", "stages that read it"), rows)
    return "\n\n".join(filter(None, [changed, _derived(review), reasons.markdown(review.reasons)]))


def _derived(review: Review) -> str:
    """Show in words what nothing but a person can judge: why a column is known although it is made of outcomes."""
    if not review.derived:
        return ""
    rows = ((code(each.column), code(each.expression, 90), text(each.reason)) for each in review.derived)
    return f"{MADE_OF_OUTCOMES}\n\n{table(('column', 'is', 'because'), rows)}"


def _plan(review: Review) -> str:
    changed = [step for step in review.plan.steps if step.reasons]
    line = kept(review.plan.steps)
    if not changed:
        return line
    rows = ((text(step.name), "; ".join(code(reason, 90) for reason in step.reasons[:4])) for step in changed)
    return f"{line}\n\n{table(('changed', 'why'), rows)}"


def kept(steps: Sequence[Step]) -> str:
    """Return how many stages are those of the base, and the time that this saves."""
    same = [step for step in steps if not step.reasons]
    saved = [step.seconds for step in same if step.seconds is not None]
    return f"{len(same)} of {len(steps)} stages are those of the base{f', {sum(saved):.0f} s saved' if saved else ''}."


def _slices(review: Review) -> str:
    rows = (
        (code(moved.where), f"{moved.rows:,}", *_sides(moved), f"{moved.better or 0:+.4f}")
        for moved in review.slices[:SLICES]
        if moved.better
    )
    name = text(review.slices[0].metric)
    return table(("slice", "rows", f"{name} at the base", "this", "change"), rows)


def _undefined(review: Review) -> str:
    slices = review.undefined_slices
    rows = ((code(where), text(words(estimate))) for where, estimate in slices[:SLICES])
    more = f"\n\n…and {len(slices) - SLICES} more." if len(slices) > SLICES else ""
    return f"{table(('slice', text(review.whole[0].metric)), rows)}{more}"


def _facts(review: Review) -> str:
    now, past = review.reports, review.past
    tables = (
        (
            code(name),
            f"{counts.rows:,}",
            f"{counts.quarantined:,}",
            ", ".join(f"{code(rule)} {count:,}" for rule, count in sorted(counts.checks.items()) if count),
        )
        for name, counts in sorted(now.validation.items())
    )
    before = "" if past.bundle is None else f" (base: {past.bundle.bytes / 1e6:.2f} MB)"
    size = f"{now.bundle.bytes / 1e6:.2f} MB{before}"
    bundle = f"Bundle {code(now.bundle.digest[:12])}: {size}, runs on {text(now.bundle.runtime)}"
    reason = f": {text(now.bundle.reason)}" if now.bundle.reason else ""
    took = (
        "" if review.latency is None else f", {review.latency * 1e6:.0f} µs for one prediction where this was written"
    )
    return f"{table(('table', 'rows', 'quarantined', 'rules broken'), tables)}\n\n{bundle}{reason}{took}."
