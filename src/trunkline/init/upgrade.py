"""Brings a project's files to the installed version: three ways, so that what a person has edited stays.

The framework's files are merged with git: what it wrote last (locks/template.txt has the names that git gives to that),
what stands there now, and what it writes today. conf/ is a person's own: only `migrations` change it.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from trunkline import __version__
from trunkline.adapters.git import process, repository
from trunkline.core import files, safe_yaml
from trunkline.core.errors import UserError
from trunkline.core.paths import CONF, FRAMEWORK
from trunkline.init import framework_files, incoming, migrations
from trunkline.init.framework_files import FORGES, TEMPLATE, Forge, Setup
from trunkline.init.write import JOINED, joined


@dataclass(frozen=True)
class Change:
    """What becomes of a file: its text, or None where it goes; a conflict is left to a person."""

    path: Path
    text: str | None
    what: str
    conflict: bool = False


def changes(root: Path) -> tuple[Change, ...]:
    """Return everything that the installed version would change.

    Raises UserError where there is no project of `trunkline init`, or one of a newer version.
    """
    version = pinned(root)
    conf = {path.relative_to(root): path.read_text(encoding="utf-8") for path in sorted((root / CONF).rglob("*.yaml"))}
    theirs = framework_files.texts(_setup(root, conf))
    if version is None:  # from elsewhere than a registry: a person has written where
        theirs[FRAMEWORK] = (root / FRAMEWORK).read_text(encoding="utf-8")
    written = _written(root)
    merged = (_change(root, path, written.get(path), theirs.get(path)) for path in sorted({*written, *theirs}))
    return (*_migrated(conf), *(change for change in merged if change is not None))


def write(root: Path, changed: tuple[Change, ...]) -> None:
    """Write the changes into the working tree; raises UserError for a file with changes that are in no commit."""
    if repository.head(root) is None:
        raise UserError("nothing is committed yet: commit the project first, so that the upgrade can be seen by itself")
    paths = [change.path.as_posix() for change in changed]
    if edited := repository.changed(root, paths) if paths else ():
        raise UserError(f"{', '.join(edited[:5])}: not committed; commit it first, so that the upgrade can be undone")
    for change in changed:
        if change.text is not None:
            mode = (root / change.path).stat().st_mode if (root / change.path).is_file() else 0
            (root / change.path).parent.mkdir(parents=True, exist_ok=True)
            files.write_text(root / change.path, change.text)
            if mode & 0o111 or change.text.startswith("#!"):
                (root / change.path).chmod(0o755)
        else:
            (root / change.path).unlink(missing_ok=True)


def pinned(root: Path) -> Version | None:
    """Return the version that a project was made or upgraded by; None where locks/trunkline.txt names an address.

    Raises UserError where there is none, or a newer one than that which is installed.
    """
    path = root / FRAMEWORK
    if not path.is_file():
        raise UserError(f"{FRAMEWORK}: there is no such file: this is no project that trunkline init has made")
    line = path.read_text(encoding="utf-8").strip()
    try:
        requirement = Requirement(line)
        version = None if requirement.url else Version(str(requirement.specifier).removeprefix("=="))
    except (InvalidRequirement, InvalidVersion):
        raise UserError(
            f"{FRAMEWORK}: '{line[:100]}': write trunkline=={__version__}, or trunkline @ ADDRESS"
        ) from None
    if version and version > Version(__version__):
        raise UserError(f"{FRAMEWORK}: the project is of {version}, and {__version__} is installed; install {version}")
    return version


def _setup(root: Path, conf: Mapping[Path, str]) -> Setup:
    """Return what decides the framework's files, as the project declares it."""
    config = safe_yaml.parse_yaml(conf.get(CONF / "config.yaml", "")) or {}
    if "name" not in config:
        raise UserError(f"{CONF}/config.yaml: name: the key is missing; write the name of the model")
    name = str(config["name"])
    pipeline = safe_yaml.parse_yaml((root / "dvc.yaml").read_text(encoding="utf-8")) or {}
    artifact = (pipeline.get("artifacts") or {}).get(name) or {}
    data = {path.stem: _sources(text) for path, text in conf.items() if path.parts[1] == "data"}
    kinds = {source["kind"] for sources in data.values() for source in sources if "kind" in source}
    chosen = next(
        (each["data"] for each in config.get("defaults") or () if isinstance(each, dict) and "data" in each), ""
    )
    forge: Forge = next(
        (each for each, folders in FORGES.items() if any((root / folder).is_dir() for folder in folders)), "none"
    )
    purpose = artifact.get("desc", f"The model {name}.")
    return Setup(name, purpose, frozenset(kinds), forge, incoming.paths(data.get(chosen, ())))


def _sources(text: str) -> list[dict[str, Any]]:
    """Return what an option of conf/data says of each of its sources."""
    return list(((safe_yaml.parse_yaml(text) or {}).get("sources") or {}).values())


def _written(root: Path) -> dict[Path, str]:
    """Return what git calls the files that the framework wrote last; empty where that was not kept yet."""
    path = root / TEMPLATE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {Path(name): blob for blob, _, name in (line.partition(" ") for line in lines)}


def _migrated(conf: Mapping[Path, str]) -> Iterator[Change]:
    new, done = migrations.migrated(conf)
    why = "; ".join(map(str, done))
    for path in sorted({*conf, *new}):
        if new.get(path) != conf.get(path):
            yield Change(path, new.get(path), why)


def _change(root: Path, path: Path, base: str | None, theirs: str | None) -> Change | None:
    """Return what becomes of a file of the framework, which wrote `base` last and would write `theirs` today."""
    ours = (root / path).read_text(encoding="utf-8") if (root / path).is_file() else None
    if ours == theirs or (theirs is not None and framework_files.blob(theirs) == base):
        return None
    if path == TEMPLATE:
        return Change(path, theirs, "lists what the framework wrote")
    if ours is None:
        if base is None:
            return Change(path, theirs, "is new")
        return Change(path, None, "was removed here, and has changed in the framework", conflict=True)
    if framework_files.blob(ours) == base:
        return Change(path, theirs, f"follows {__version__}" if theirs is not None else "is not needed any more")
    if theirs is not None and path.as_posix() in JOINED:
        lines = joined(ours, theirs)
        return Change(path, lines, "gets the lines that it has not got") if lines != ours else None
    if theirs is None:
        return Change(path, ours, "was edited here, and the framework has it no more", conflict=True)
    return _merge(root, path, base, ours, theirs)


def _merge(root: Path, path: Path, base: str | None, ours: str, theirs: str) -> Change:
    """Return a file that was edited here and has changed in the framework, merged."""
    before = process.attempt(root, os.environ, "cat-file", "blob", base or "")
    known = before.returncode == 0  # git has no text of a file that was edited before its first commit
    text, conflict = _merged(ours, before.stdout if known else "", theirs)
    if not conflict:
        return Change(path, text, "is merged with your edits")
    when = "here" if known or base is None else "before its first commit, so that git cannot tell what of it is yours,"
    return Change(path, text, f"was edited {when} and changed in the framework: resolve <<<<<<<", conflict=True)


def _merged(ours: str, base: str, theirs: str) -> tuple[str, bool]:
    """Return git's merge of three texts, and whether it has conflicts."""
    with tempfile.TemporaryDirectory() as name:
        texts = {"this project": ours, "before": base, f"trunkline {__version__}": theirs}
        labels = [word for label in texts for word in ("-L", label)]
        for number, text in enumerate(texts.values()):
            (Path(name) / str(number)).write_text(text, encoding="utf-8", newline="")
        done = process.attempt(Path(name), os.environ, "merge-file", "-p", *labels, "0", "1", "2")
    return done.stdout, done.returncode != 0
