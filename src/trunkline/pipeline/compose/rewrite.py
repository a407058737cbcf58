"""Sets keys of composed conf/ where they are written, and leaves everything else as it is; nothing is written here."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from trunkline.core.errors import UserError
from trunkline.pipeline.compose import edit, files
from trunkline.pipeline.compose.edit import Value
from trunkline.pipeline.compose.files import Composed


def rewritten(composed: Composed, changes: Iterable[tuple[Sequence[str], Value]]) -> dict[Path, str]:
    """Return the new text of each file of conf/ that changes; a key whose value is None is removed.

    Raises UserError that names the file where that cannot be done without touching anything else.
    """
    texts: dict[Path, str] = {}
    for key, value in changes:
        path, own = files.holder(composed.merged, key)
        text = texts.get(path) or path.read_text(encoding="utf-8")
        try:
            texts[path] = edit.drop(text, own) if value is None else edit.put(text, own, value)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return texts
