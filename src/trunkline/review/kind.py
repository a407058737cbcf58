"""What kind of change a pull request is: what it declares, or also what computes and judges that.

The first is judged by code that was reviewed before. The second runs in its own check, so that only a person who reads
it protects against it. What is not known to be harmless counts as the second.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.forge import owners
from trunkline.adapters.git import repository
from trunkline.adapters.git.process import output
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.conf import handwritten, registry
from trunkline.conf.versions import Version
from trunkline.core import paths, safe_yaml
from trunkline.core.errors import UserError
from trunkline.pipeline.compose import compose
from trunkline.release import releases, verify
from trunkline.show.differences import Difference

DECLARED = ("conf", "params.yaml", "dvc.lock", "reports", "models/registry.yaml")
# What git, DVC and Python heed in any folder: a stage beside a text runs as those of dvc.yaml do.
HEEDED = ("*.dvc", "dvc.yaml", ".dvcignore", ".gitattributes", ".gitmodules")
WRITTEN = {"conf": (".yaml", ".md"), "reports": (".json",)}  # the suffixes of what belongs there
UNREADABLE = "\N{REPLACEMENT CHARACTER}"  # in place of bytes that are no text, so that the name is another one
ENGINE = "conf/engine"
FILE = "100"  # what the mode of a file begins with in git, and that of no link
HARMLESS = ("docs", "tests", "benchmarks", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")
# Keys of params.yaml by which a model is judged, and those that say who may sign one.
JUDGING = ("gates", "evaluation", "deploy", "contract", "data.window.holdout")


@dataclass(frozen=True)
class CodeChange:
    """Changed files that compute or judge, and who must approve them all by CODEOWNERS of the base: none, nobody."""

    files: tuple[str, ...]
    owners: tuple[str, ...]


NO_CODE = CodeChange((), ())


def code(since: Since, base: Snapshot) -> CodeChange:
    """Return what has changed since the base beside declared state, its results and texts."""
    files = computing(since.changed("."), lambda name: (since.folder / name).is_symlink())
    codeowners = next(filter(None, (base.text(path) for path in owners.PLACES)), "")
    return CodeChange(files, owners.shared(codeowners, [f"{base.prefix}{name}" for name in files]))


def of_commit(folder: Path, trunk: str, commit: str) -> tuple[str, ...]:
    """Return in what a commit, which need not be checked out, differs from the trunk beside declared state and texts.

    The trunk is meant as it is now: the code that a branch left, however long ago, may have a hole that is closed by
    now. conf/engine is among them where other machines than the trunk's are to compute, and the registry file where
    production is to run a version that no signer of the trunk has signed, since a stage loads its bundle. Raises
    UserError for a commit or a trunk that is not here.
    """
    if repository.resolve(folder, commit) is None:
        raise UserError(f"commit {commit[:10]} is not here; run: git fetch origin {commit}")
    tip = repository.fork(folder, trunk, commit).tip
    changed = repository.changed_between(folder, tip, commit)
    listed = output(folder, "ls-tree", "-r", "-z", commit).decode(errors="surrogateescape")
    entries = (entry.partition("\t") for entry in listed.split("\0") if entry)
    special = frozenset(name for about, _, name in entries if not about.startswith(FILE))  # links, other repositories
    code = computing(changed, special.__contains__)
    if code:
        return tuple(name.encode(errors="surrogateescape").decode(errors="replace") for name in code)
    return tuple(_elsewhere(folder, changed, Snapshot(folder, tip), Snapshot(folder, commit)))


def _elsewhere(folder: Path, changed: Sequence[str], trunk: Snapshot, commit: Snapshot) -> Iterator[str]:
    """Yield what is declared by which others' code would run, or would say what a stage gave."""
    if any(Path(name).is_relative_to(paths.CONF) for name in changed) and not _is_computed_here(folder, trunk, commit):
        yield ENGINE
    if str(paths.REGISTRY) in changed and not _is_proven(folder, trunk, commit):
        yield str(paths.REGISTRY)


def _is_computed_here(folder: Path, trunk: Snapshot, commit: Snapshot) -> bool:
    """Tell whether conf/ of a commit has the trunk's machines compute; it is composed aside, and not run."""
    names = [Path(name) for name in repository.names_at(folder, commit.commit)]
    declared = [path for path in names if path.is_relative_to(paths.CONF)]
    with tempfile.TemporaryDirectory() as aside:
        for path, content in repository.files_at(folder, [commit.commit], declared)[commit.commit].items():
            (Path(aside) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(aside) / path).write_bytes(content)
        try:
            composed = compose.compose(Path(aside) / paths.CONF).content
        except UserError:
            return False
    return bool(composed.get("engine") == trunk.mapping(paths.PARAMS).get("engine"))


def _is_proven(folder: Path, trunk: Snapshot, commit: Snapshot) -> bool:
    """Tell whether each version that production runs at a commit, and not at the trunk, is one of the trunk's signers.

    The models of all names count, since the commit may also change which of them is its own.
    """
    declared = releases.promoted(trunk.mapping(paths.PARAMS))
    try:
        before, now = (_in_production(each.text(paths.REGISTRY) or "{}") for each in (trunk, commit))
        for version in now - before:
            verify.chain(folder, version, declared.signers if declared else {})
    except UserError:
        return False
    return True


def _in_production(text: str) -> set[Version]:
    """Return the versions that a registry file's text declares for production; raises UserError as its reader does."""
    handwritten.lint_text(paths.REGISTRY, text)
    read = {name: registry.parse(text, name, paths.REGISTRY) for name in safe_yaml.parse_yaml(text) or {}}
    numbers = {name: each.environments[registry.PRODUCTION].version for name, each in read.items()}
    return {Version(name, number) for name, number in numbers.items() if isinstance(number, int)}


def computing(changed: Sequence[str], is_special: Callable[[str], bool]) -> tuple[str, ...]:
    """Return those of the changed files that may compute or judge: also a link, through which any file is written."""
    return tuple(name for name in changed if _computes(name) or is_special(name))


def _computes(name: str) -> bool:
    """Tell whether a file may compute or judge: all but what is known not to."""
    if UNREADABLE in name or not name.isprintable():
        return True
    path = Path(name)
    suffixes = WRITTEN.get(path.parts[0], (path.suffix,))
    heeded = any(path.match(pattern) for pattern in HEEDED) or path.suffix not in suffixes
    return heeded or not repository.within(name, (*DECLARED, *HARMLESS))


def rules(changes: Sequence[Difference]) -> tuple[str, ...]:
    """Return the changed keys of params.yaml that judge a model."""
    keys = [change.key for change in changes]
    return tuple(key for key in keys if any(f"{key}.".startswith(f"{group}.") for group in JUDGING))
