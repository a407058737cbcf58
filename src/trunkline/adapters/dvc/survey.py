"""What DVC would do with the pipeline as it is now; runs no stage, fetches nothing, writes nothing.

DVC's own objects answer: whether an input or an output differs from dvc.lock, and whether the run cache knows the
result for these inputs; a test compares with `dvc repro`. What follows for the stages behind is decided here, in the
order in which `dvc repro` goes. A stage behind one that will run is not known to run: if the result is the same as
before, nothing follows from it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from logging import WARNING
from pathlib import Path
from typing import Any, Literal

from trunkline.adapters.dvc import private
from trunkline.adapters.dvc.parses import kept_parses
from trunkline.adapters.dvc.private import DvcException, LockError, Output, ParamsDependency, Repo, set_loggers_level
from trunkline.core import paths as core_paths
from trunkline.core.errors import OutsideError, UserError, one_line

PARAMS = str(core_paths.PARAMS)

# unchanged: nothing happens. restored: its results come from the cache. runs. changed: runs or is restored, which
# depends on a stage before it or on inputs that are not here. follows: one of the three, as those before it turn out.
Action = Literal["unchanged", "restored", "runs", "changed", "follows"]
OPEN: frozenset[Action] = frozenset({"runs", "changed", "follows"})
ABSENT = ("deleted", "not in cache")  # what DVC calls an output that a remote may have


@dataclass(frozen=True)
class Absent:
    """An output, or what `dvc add` has made, that a stage needs and that is not in the workspace.

    `cached` if the local cache has it.
    """

    path: str
    bytes: int
    files: int
    cached: bool


@dataclass(frozen=True)
class Stage:
    """A stage as it is now: its command, its own inputs' hashes (None: not there), the others' makers, its parameters.

    `outputs` says what is wrong with an output, by its path, in DVC's words; `needs` are absent inputs of a stage that
    may run; `uncached` are outputs that are in git instead of the cache.
    """

    name: str
    cmd: str
    inputs: Mapping[str, str | None]
    upstream: Mapping[str, tuple[str, ...]]
    params: Mapping[str, Any]
    outputs: Mapping[str, str]
    action: Action
    needs: tuple[Absent, ...] = ()
    uncached: tuple[str, ...] = ()


@dataclass
class _Survey:
    """The stages seen so far, by name, and what DVC knows of them."""

    repo: Any
    params: Mapping[str, Any]
    composed: Callable[[], Mapping[str, Any]]
    outs: Mapping[Path, Any]
    tracked: Mapping[Path, Any]  # outputs of no stage, that `dvc add` has made
    remote: bool
    seen: dict[str, Stage] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)  # stages whose outputs will be what dvc.lock says

    def add(self, stage: Any) -> None:
        upstream = {str(dep): makers for dep in files(stage) if (makers := self._makers(dep))}
        # DVC remembers the hash of a file that has not changed.
        inputs = {str(dep): self._hash(dep) for dep in files(stage) if str(dep) not in upstream}
        params = _params(stage, self.params)
        outputs = {path: word for out in stage.outs for path, word in out.status().items()}
        waits = any(name not in self.same for names in upstream.values() for name in names)
        locked = {str(dep): dep.hash_info.value for dep in files(stage)}
        parameters = [dep.hash_info.value or {} for dep in stage.deps if isinstance(dep, ParamsDependency)]
        own = stage.cmd_changed or params != {key: value for values in parameters for key, value in values.items()}
        own = own or any(value != locked.get(path) for path, value in inputs.items())
        own = own or any(self._is_another(dep, upstream[str(dep)]) for dep in files(stage) if str(dep) in upstream)
        stale = any(not (self.remote and word in ABSENT) for word in outputs.values())
        action = self._action(stage, own=own, stale=stale, waits=waits, params=params)
        if (not own and not stale and not waits) or (action == "restored" and not own):
            self.same.add(stage.name)
        if action != "unchanged" and PARAMS in {str(out) for out in stage.outs}:
            self.params = self.composed()
        needs = tuple(self._absent(stage)) if action in OPEN else ()
        self.seen[stage.name] = Stage(
            stage.name, stage.cmd, inputs, upstream, params, outputs, action, needs, uncached(stage.outs)
        )

    def _action(self, stage: Any, *, own: bool, stale: bool, waits: bool, params: Mapping[str, Any]) -> Action:
        if not own and not stale:
            return "follows" if waits else "unchanged"
        if waits or not all(dep.exists for dep in files(stage)):
            return "changed"
        return "restored" if self._is_cached(stage, own=own, params=params) else "runs"

    def _hash(self, dep: Any) -> str | None:
        """Return the hash of an input; of one that is not here and the remote may have, the one that git keeps."""
        if dep.exists:
            return str(dep.get_hash().value)
        tracked = self.tracked.get(Path(dep.fs_path)) if self.remote else None
        return str(tracked.hash_info.value) if tracked is not None else None

    def _is_another(self, dep: Any, makers: tuple[str, ...]) -> bool:
        """Whether what stages before have made is not what the lock says that this one has read: after a merge."""
        if not self.same.issuperset(makers):
            return False
        if dep.exists and all(self.seen[name].action == "unchanged" for name in makers):
            return bool(dep.status())
        out = self._inside(dep)
        return out is not None and dep.fs_path == out.fs_path and dep.hash_info != out.hash_info

    def _inside(self, dep: Any) -> Any:
        """Return the output that an input is or lies in; None for one that no stage makes as a whole."""
        path = Path(dep.fs_path)
        return next((self.outs[folder] for folder in (path, *path.parents) if folder in self.outs), None)

    def _makers(self, dep: Any) -> tuple[str, ...]:
        """Return the stages that make an input, or files in it."""
        whole, path = self._inside(dep), Path(dep.fs_path)
        if whole is not None:
            return (whole.stage.name,)
        return tuple(sorted({out.stage.name for inner, out in self.outs.items() if inner.is_relative_to(path)}))

    def _is_cached(self, stage: Any, *, own: bool, params: Mapping[str, Any]) -> bool:
        """Whether DVC would take the results from its cache; asked as `dvc repro` asks, with the inputs of now."""
        try:
            if not own:
                self.repo.stage_cache.restore(stage, dry=True)
                return True
            for dep in stage.deps:
                if isinstance(dep, ParamsDependency):
                    dep.fill_values({key: params[key] for key in dep.params})
                elif all(self.seen[name].action == "unchanged" for name in self._makers(dep)):
                    dep.save()
            return private.knows_result(self.repo, stage)
        except (private.RunCacheNotFoundError, DvcException):
            return False

    def _absent(self, stage: Any) -> Iterator[Absent]:
        for dep in files(stage):
            out = self._inside(dep)
            is_output = out is not None and out.stage.name in self.same
            kept = out if is_output else self.tracked.get(Path(dep.fs_path))
            if kept is not None and not dep.exists:
                meta = (dep if is_output else kept).meta
                yield Absent(str(dep), meta.size or 0, meta.nfiles or 1, cached=not kept.changed_cache())


def survey(root: Path, params: Mapping[str, Any], composed: Callable[[], Mapping[str, Any]]) -> list[Stage]:
    """Return the stages in the order in which they run.

    `params` is the content of params.yaml, and `composed` returns what it will be once the stage that makes it has run.
    Raises UserError for a dvc.yaml that DVC refuses, OutsideError while another DVC command holds the repository.
    """
    try:
        # DVC takes the paths of its run cache as relative to the working directory.
        with chdir(root), set_loggers_level(WARNING), kept_parses(), Repo() as repo, repo.lock:
            stages = private.in_order(repo)
            outs = {Path(out.fs_path): out for stage in stages for out in stage.outs}
            tracked = {Path(out.fs_path): out for out in repo.index.outs if Path(out.fs_path) not in outs}
            remote = bool(repo.config["core"].get("remote"))
            surveyed = _Survey(repo, params, composed, outs, tracked, remote)
            for stage in stages:
                surveyed.add(stage)
    except LockError as error:
        raise OutsideError(
            f"another DVC command is running here ({one_line(error)}); wait for it, or stop it"
        ) from None
    except (DvcException, RecursionError) as error:  # what DVC reads YAML with recurses as deep as a file is nested
        if "dvc.lock" in str(error) or isinstance(error, RecursionError):
            raise UserError(f"dvc.lock: DVC cannot read it ({one_line(error)}); run: git restore dvc.lock") from None
        raise UserError(f"dvc.yaml: DVC refuses the pipeline: {one_line(error)}") from None
    return list(surveyed.seen.values())


def uncached(outs: Iterable[Any]) -> tuple[str, ...]:
    """Return the paths of those outputs of DVC that are in git instead of its cache."""
    return tuple(str(out.def_path) for out in outs if not out.use_cache)


def files(stage: Any) -> list[Output]:
    """Return the files and folders that a stage of DVC reads."""
    return [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]


def _params(stage: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a stage reads; a key that is not there is left out."""
    values = {}
    for dep in stage.deps:
        for key in dep.params if isinstance(dep, ParamsDependency) else ():
            value: Any = content
            for part in key.split("."):
                value = value.get(part, _NONE) if isinstance(value, Mapping) else _NONE
            if value is not _NONE:
                values[key] = value
    return values


_NONE = object()
