"""Who must approve a change of a file, as CODEOWNERS says; the last line that matches decides. Pure."""

from collections.abc import Sequence
from pathlib import Path

from pathspec import GitIgnoreSpec

# Where GitHub and GitLab look; the first that is there counts.
PLACES = (Path(".github/CODEOWNERS"), Path("CODEOWNERS"), Path("docs/CODEOWNERS"), Path(".gitlab/CODEOWNERS"))


def owners(text: str, path: str) -> tuple[str, ...]:
    """Return the owners of a file, by its path in the repository; none if no line names one."""
    names: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if words and _matches(words[0], path):
            names = tuple(words[1:])
    return names


def _matches(pattern: str, path: str) -> bool:
    if pattern.startswith(("!", "[", "^[")):  # no pattern there: what begins so is a section, or nothing
        return False
    if pattern.endswith("/*") and path.count("/") != pattern.strip("/").count("/"):
        return False  # unlike in .gitignore, the files of a folder only, not those of its folders
    return GitIgnoreSpec.from_lines([pattern]).match_file(path)


def shared(text: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the owners that all of some files have; none if one of them has none, or there are no files."""
    each = [owners(text, path) for path in paths]
    return tuple(dict.fromkeys(name for first in each for name in first)) if each and all(each) else ()
