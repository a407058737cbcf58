"""The files of the framework's repository that every project has: what `init` writes is what the repository runs.

In the repository, files/ holds links to them, so that there is nothing to be kept alike; a wheel holds their content. A
link is named as the path with _ before it and + for each /, since DVC and git heed .gitignore, .dvc or dvc.yaml in any
folder.
"""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("files")


@cache
def files() -> tuple[str, ...]:
    """Return the paths of all files, as the repository has them."""
    return tuple(sorted(link.name[1:].replace("+", "/") for link in _FOLDER.iterdir()))


def text(path: str) -> str:
    """Return the content of a file; raises FileNotFoundError for one that no project has."""
    return (_FOLDER / name(path)).read_text(encoding="utf-8")


def name(path: str) -> str:
    """Return what a file is called in the package."""
    return f"_{path.replace('/', '+')}"
