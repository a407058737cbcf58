"""What a retraining changes in conf/ of the trunk's tip: the windows and the pins of the sources; nothing is committed.

conf/ is composed and judged in a checkout, before and after: the user's working tree is neither read nor changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters import checkouts
from trunkline.conf.data import Windows
from trunkline.conf.project import Project
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.params import dig
from trunkline.pipeline.compose import compose, judge, rewrite
from trunkline.pipeline.compose.files import Composed
from trunkline.pipeline.ingest import pins
from trunkline.pipeline.ingest.pins import PinMove
from trunkline.retrain import windows
from trunkline.retrain.windows import Known, Unit
from trunkline.show import differences


@dataclass(frozen=True)
class Change:
    """What is declared of the data, before and after, and the texts of the files of conf/ that say so.

    `before` and `after` are equal where only pins move, and None where a hash splits the rows.
    """

    old: Mapping[Path, str]
    new: Mapping[Path, str]
    before: Windows | None
    after: Windows | None
    step: Unit
    moves: tuple[PinMove, ...]

    @property
    def diff(self) -> str:
        """The change as git would show it."""
        return "".join(differences.of_file(path, self.old[path], text) for path, text in sorted(self.new.items()))


@dataclass(frozen=True)
class Declaration:
    """What a commit declares, in a checkout of it in `folder`."""

    folder: Path
    composed: Composed
    project: Project

    @property
    def windows(self) -> Windows | None:
        """The declared windows; None where a hash splits the rows."""
        return self.project.data.window

    @property
    def step(self) -> Unit:
        """In which steps the windows move."""
        written = dig(self.composed.content, "data", "window") or {}
        return windows.unit(*map(str, written.values()))

    def newest(self, as_of: "Known") -> Windows | None:
        """Return the newest windows all of whose outcomes are known; None where those declared are."""
        if self.windows is None:
            return None
        keep = self.project.monitoring.retrain.window
        return windows.moved(self.windows, windows.known_until(as_of, self.step), self.step, keep)

    def pins(self) -> tuple[PinMove, ...]:
        """Return the pins that are not what is there now; sources are looked at as the working directory sees them."""
        sources = self.project.data.sources
        return tuple(move for name, source in sources.items() for move in pins.moves(name, source))

    def change(self, after: Windows | None, moves: Sequence[PinMove]) -> Change:
        """Return the change to other windows and pins, which composes; raises UserError where it does not."""
        edits = [(("data", "sources", *move.key), move.now) for move in moves]
        for name, window in () if after is None or after == self.windows else after:
            edits.append((("data", "window", name), windows.written(window, self.step)))
        with chdir(self.folder):
            new = rewrite.rewritten(self.composed, edits)
            old = {path: path.read_text(encoding="utf-8") for path in new}
            for path, text in new.items():
                path.write_text(text, encoding="utf-8")
            data = judge.data_of(compose.compose(paths.CONF), paths.CONF)  # nothing else of it changes
            for path, text in old.items():
                path.write_text(text, encoding="utf-8")
        if data.window != after:
            raise UserError(
                f"data.window: {paths.CONF} composes to other windows than were written; write them by hand"
            )
        return Change(old, new, self.windows, after, self.step, tuple(moves))


@contextmanager
def opened(root: Path, commit: str) -> Iterator[Declaration]:
    """Yield what a commit declares; raises UserError where its conf/ does not compose."""
    with checkouts.tree(root, commit) as folder:
        with chdir(folder):
            composed = compose.compose(paths.CONF)
            project = judge.check(composed, paths.CONF, paths.REGISTRY)
        yield Declaration(folder, composed, project)
