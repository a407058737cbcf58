"""Copies some of Trunkline's modules, with all that they import of it, as a package under a name of its own.

A model that is logged to MLflow brings the code that loads it, and works where Trunkline is not installed. Where it
is, in whatever version, or where one process loads models of several versions, no module may be taken for
another: the package is named by the hash of its code.
"""

import ast
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import trunkline

_ROOT = Path(trunkline.__file__).parent
_OURS = "trunkline"
_IMPORT = re.compile(rf"^(\s*from ){_OURS}(?=[. ])", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package: its name, its files by path, and which packages of others its modules import."""

    name: str
    files: Mapping[str, str]
    imports: frozenset[str]

    def write(self, folder: Path) -> Path:
        """Write the package into a folder; return its own folder there."""
        for path, text in self.files.items():
            target = folder / self.name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return folder / self.name


def collect(module: str, without: frozenset[str] = frozenset()) -> Package:
    """Return a module and what it imports, as a package; `without` are modules that are not followed.

    What is imported for types only is left out, and so is another's package that the code can do without.
    """
    sources: dict[Path, str] = {}
    imports: set[str] = set()
    waiting = [module]
    while waiting:
        path = _path(waiting.pop())
        if path is None or path in sources:
            continue
        sources[path] = path.read_text(encoding="utf-8")
        found = set(_imported(ast.parse(sources[path])))
        waiting += [name for name in found if name.partition(".")[0] == _OURS and name not in without]
        waiting += [_parent(path)]
        imports |= {name.partition(".")[0] for name in found}
    files = {path.relative_to(_ROOT).as_posix(): text for path, text in sorted(sources.items())}
    name = f"{_OURS}_{hashlib.sha256(repr(files).encode()).hexdigest()[:16]}"
    renamed = {path: _IMPORT.sub(rf"\1{name}", text) for path, text in files.items()}
    return Package(name, renamed, frozenset(imports - sys.stdlib_module_names - {_OURS}))


def _path(name: str) -> Path | None:
    """Return a module's file; None for a name in a module."""
    path = _ROOT.joinpath(*name.split(".")[1:])
    return next(filter(Path.is_file, (path.with_suffix(".py"), path / "__init__.py")), None)


def _parent(path: Path) -> str:
    """Return the package that a file is in, which is imported before it."""
    return ".".join((_OURS, *path.parent.relative_to(_ROOT).parts))


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield the absolute names that code imports when it runs, and of each imported name what may be a module."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names):
            yield module
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.Try(handlers=handlers) if any(_means_missing(handler) for handler in handlers):
            return
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _imported(child)


def _means_missing(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.type, ast.Name) and handler.type.id in ("ImportError", "ModuleNotFoundError")
