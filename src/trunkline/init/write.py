"""Writes a project into a folder, all of it or nothing, and over nothing that is there."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trunkline.core.errors import UserError
from trunkline.core.paths import CONF, REGISTRY
from trunkline.pipeline.compose import compose, judge

# What may be there already, and is left as it is: it decides no result.
KEPT = ("README.md", ".editorconfig", ".vscode/extensions.json", ".devcontainer/devcontainer.json")
JOINED = (".gitignore", ".gitattributes", ".dvcignore")  # lists of lines: those that are missing are added
SHOWN = 5


def new(root: Path, texts: Mapping[Path, str]) -> dict[Path, str]:
    """Return the files that will be written: all but those that may stay as they are.

    A list of lines that is there keeps its own. Raises UserError that names what stands in the way.
    """
    wanted = {path: text for path, text in texts.items() if not (path.as_posix() in KEPT and (root / path).is_file())}
    lists = {path for path in wanted if path.as_posix() in JOINED and (root / path).is_file()}
    wanted |= {path: joined((root / path).read_text(encoding="utf-8"), wanted[path]) for path in lists}
    blocking = sorted({way.as_posix() for path in wanted.keys() - lists for way in _in_the_way(root, path)})
    if blocking:
        more = f" and {len(blocking) - SHOWN} more" if len(blocking) > SHOWN else ""
        listed = ", ".join(blocking[:SHOWN])
        raise UserError(f"{listed}{more}: is there already, and nothing is overwritten; move it, or use another folder")
    return wanted


def joined(text: str, more: str) -> str:
    """Return a list of lines with those of another at its end that it has not got."""
    present = text.splitlines()
    missing = [line for line in more.splitlines() if line and line not in present]
    return "\n".join([*present, *missing, ""]) if missing else text


def _in_the_way(root: Path, path: Path) -> Iterator[Path]:
    if (root / path).exists() or (root / path).is_symlink():
        yield path
    yield from (
        parent for parent in list(path.parents)[:-1] if (root / parent).is_symlink() or (root / parent).is_file()
    )


def check(texts: Mapping[Path, str]) -> None:
    """Compose and judge the conf/ and the registry among some texts; raises UserError with the paths they will have."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        judged = {path: text for path, text in texts.items() if path.parts[0] == CONF.name or path == REGISTRY}
        _put(folder, judged)
        try:
            judge.check(compose.compose(folder / CONF), folder / CONF, folder / REGISTRY)
        except UserError as error:
            advice = "this is what init would have written: rename such columns, or leave them out of the table"
            raise UserError(f"{str(error).replace(f'{folder}/', '')}\n{advice}") from None


def write(root: Path, texts: Mapping[Path, str], copied: Mapping[Path, Path]) -> None:
    """Write texts, and copies of files, by their paths below the root, all of them or, on an error, none."""
    before = {path: (root / path).read_bytes() for path in texts if (root / path).is_file()}
    with _aside(root, texts, copied) as folder:
        moved: list[Path] = []
        try:
            for path in (*texts, *copied):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).rename(root / path)
                moved.append(root / path)
        except BaseException:
            for path in moved:
                path.unlink()
            for path, content in before.items():
                (root / path).write_bytes(content)
            raise


@contextmanager
def _aside(root: Path, texts: Mapping[Path, str], copied: Mapping[Path, Path]) -> Iterator[Path]:
    """Yield a folder beside that has it all, which is removed afterwards."""
    folder = Path(tempfile.mkdtemp(dir=root, prefix=".trunkline-init-"))
    try:
        _put(folder, texts)
        for path, source in copied.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / path)
        yield folder
    finally:
        shutil.rmtree(folder)


def _put(folder: Path, texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", newline="\n")
        if text.startswith("#!"):
            (folder / path).chmod(0o755)
