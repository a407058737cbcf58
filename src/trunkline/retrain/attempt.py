"""What the branch of a retraining has tried, told by what it holds and not by who made it.

The first commit's message names what it wrote, each file with the id of its content. While the branch differs from
the trunk in just that, and in what the pipeline makes of it, it is ours.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git import ancestry, repository
from trunkline.adapters.pulls import FOLLOW
from trunkline.conf.data import Windows
from trunkline.core import paths
from trunkline.pipeline.ingest.pins import PinMove
from trunkline.retrain import windows
from trunkline.retrain.change import Change

_DECLARES = re.compile(r"^Declares: ([0-9a-f]{40,64}) (\S.*)$", re.MULTILINE)
_MOVES = re.compile(r"^Moves: (\[.*\])$", re.MULTILINE)
_WINDOWS = re.compile(r"^(Train|Holdout): ([\d.-]+) \(before: ([\d.-]+)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Attempt:
    """What a branch has tried that the trunk does not declare: its tip, and the trunk's commit that it left.

    `ours`: nobody has changed it. `windows` are those that it declares, None where a hash splits the rows, and `moves`
    the pins.
    `computed`: the pipeline's results are on it. `conflicts`: the trunk has changed, since, what it changes.
    `reverted`: it was merged, and the trunk has taken it back.
    """

    commit: str
    base: str
    ours: bool
    windows: Windows | None
    moves: tuple[PinMove, ...]
    computed: bool
    conflicts: bool
    reverted: bool


def trailers(change: Change, blobs: Mapping[Path, str]) -> str:
    """Return the end of a message from which `read` knows what the commit declares."""
    lines = [f"Declares: {blob} {path.as_posix()}" for path, blob in sorted(blobs.items())]
    for move in change.moves:
        lines.append(f"Moves: {json.dumps([move.key, move.before, move.now])}")
    if change.before is not None and change.after is not None:
        for name in ("train", "holdout"):
            new, old = (windows.written(getattr(side, name), "day") for side in (change.after, change.before))
            lines.append(f"{name.capitalize()}: {new} (before: {old})")
    return "\n".join(lines)


def read(root: Path, tip: str, commit: str, declared: Windows | None) -> Attempt | None:
    """Return what a branch has tried beside the trunk's tip, which declares these windows.

    None where that is history: the trunk declares the same, or later windows, by now.
    """
    base = repository.merge_base(root, tip, commit)
    own = ancestry.first_parents(root, commit, since=base)
    message = own[-1].message if own else ""
    blobs = {path: blob for blob, path in _DECLARES.findall(message)}
    tried, before = _windows(message)
    merged = repository.is_ancestor(root, commit, tip)
    if not own or (blobs and all(repository.blob(root, tip, path) == blob for path, blob in blobs.items())):
        return None
    if merged if tried == before else tried == declared:
        return None
    if tried is not None and declared is not None and tried.holdout.end < declared.holdout.end:
        return None
    changed = repository.changed_between(root, base, commit)
    written = {path: repository.blob(root, commit, path) for path in changed if not path.startswith(FOLLOW)}
    moved_on = repository.changed_between(root, base, tip)
    return Attempt(
        commit,
        base,
        ours=bool(blobs) and written == blobs,
        windows=tried,
        moves=_moves(message),
        computed=str(paths.LOCK) in changed,
        conflicts=not set(changed).isdisjoint(moved_on),
        reverted=merged,
    )


def _moves(message: str) -> tuple[PinMove, ...]:
    """Return the pins that a commit moves."""
    try:
        moves = [json.loads(line) for line in _MOVES.findall(message)]
        return tuple(PinMove(tuple(key), before, now) for key, before, now in moves)
    except (TypeError, ValueError):  # of somebody else
        return ()


def _windows(message: str) -> tuple[Windows | None, Windows | None]:
    """Return the windows that a commit declares, and those that its parent did; None where a hash splits the rows."""
    written = _WINDOWS.findall(message)
    sides = ({name.lower(): side for name, *both in written for side in [both[place]]} for place in (0, 1))
    try:
        tried, before = (Windows.model_validate(side) if side else None for side in sides)
    except ValueError:  # of somebody else
        return None, None
    return tried, before
