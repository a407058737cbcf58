"""What a pull request's model would have answered lately, as a section of its comment; it is never a gate."""

from collections.abc import Iterable, Iterator

from trunkline.deploy.rollout.preview import Move, Preview
from trunkline.show.markdown import code, table, text

TITLE = "### What it would have answered"
NO_GATE = "It is no gate: it says how much changes, and not whether that is better."
_SHORT = 40  # characters of a value that is listed
_ROOM = 1_800  # characters that the comment leaves
_REASONS = 3


def section(bodies: Iterable[str]) -> str:
    """Return the section of what was said of each environment; paragraphs beyond its room are left out."""
    kept = TITLE
    for paragraph in "\n\n".join(bodies).split("\n\n"):
        kept += f"\n\n{paragraph}" if len(kept) + len(paragraph) <= _ROOM else ""
    return kept


def body(preview: Preview) -> str:
    """Return a preview as Markdown; texts of requests are written so that they stay text."""
    return "\n\n".join([*_answers(preview), *_unanswered(preview)])


def refused(environment: str, why: str) -> str:
    """Say why there is no preview of an environment; `why` is someone's text."""
    return f"Of {code(environment)}, nothing: {text(why)}."


def _answers(preview: Preview) -> Iterator[str]:
    hours = f"the last {preview.previews.hours} h" if preview.previews.hours > 1 else "the last hour"
    whole = preview.whole
    if preview.version is None:
        yield f"Of {code(preview.environment)}, nothing: no request of {hours} is in the log that it could answer."
        return
    asked = f"{whole.rows:,} rows of {_counted(preview.requests, 'request')} of {hours} in {code(preview.environment)}"
    yield f"{asked}, answered by {code(preview.version)}, and by this model: {_words(whole, preview)}. {NO_GATE}"
    if preview.slices:
        changed = () if whole.changed is None else ("decisions that change",)
        mean = () if whole.mean is None else ("mean change",)
        yield table(("slice", "rows", *changed, *mean), (_row(*each) for each in preview.slices))


def _words(move: Move, preview: Preview) -> str:
    words = []
    if move.changed is not None:
        at = f" at {preview.previews.threshold:g}" if move.mean is not None else ""
        words.append(f"**{move.changed:.2%}** of decisions{at} change")
    if move.mean is not None:
        words.append(f"the score changes by {move.mean:+.4f} on average")
    return ", ".join(words)


def _row(column: str, value: str, move: Move) -> tuple[str, ...]:
    return (code(f"{column}={value}", _SHORT), *_cells(move))


def _cells(move: Move) -> tuple[str, ...]:
    changed = () if move.changed is None else (f"{move.changed:.2%}",)
    mean = () if move.mean is None else (f"{move.mean:+.4f}",)
    return (f"{move.rows:,}", *changed, *mean)


def _unanswered(preview: Preview) -> Iterator[str]:
    left = sorted(preview.left.items(), key=lambda each: (-each[1], each[0]))
    if left:
        words = [f"{_counted(rows, 'row')}, since {text(why, 120)}" for why, rows in left[:_REASONS]]
        words += [f"and {sum(rows for _, rows in left[_REASONS:]):,} for other reasons"] if left[_REASONS:] else []
        yield f"Not answered again: {'; '.join(words)}."
    if preview.absent:
        yield f"Not in the log, and so no slice: {', '.join(map(code, preview.absent))}."


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
