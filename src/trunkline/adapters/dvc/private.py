"""All that Trunkline uses of DVC beyond what DVC documents: `dvc.api` and the command line.

Any release of DVC may move it, so it is imported here and nowhere else, which lint-imports holds. The locks pin the
release, and the tests of this room compare with what `dvc repro` does. No public function answers without acting, and
the command line takes a second each time:

- `Repo` and what it hands out (stages, outputs, dependencies, the run cache, the lock): what `dvc repro` would do, and
  what the cache has. `ParamsDependency`, `PipelineStage` and `Output` tell its objects apart.
- `plan_repro`, `get_active_graph`: the order in which `dvc repro` goes.
- `StageCache._load`, `StageCache._create_stage`, `_can_hash`: whether the run cache knows a result, without taking it.
- `_yaml.parse_yaml`, `_yaml._dump`, `strictyaml.parse_yaml`: replaced for a while, since DVC parses dvc.lock again for
  each stage.
- `modify_yaml`: writes dvc.lock as DVC does, byte for byte.
- `Config`: where the cache is, without opening a repository.
- `pygit2.blob._BlobIO`, by which DVC reads files of a commit: it may miss that its thread has ended, and wait for ever.
- The exceptions, which distinguish a refused pipeline from a failed stage.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from dvc.config import Config, ConfigError
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.lock import LockError
from dvc.logger import set_loggers_level
from dvc.output import Output
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError, _can_hash
from dvc.stage.exceptions import StageCmdFailedError
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml, modify_yaml
from pygit2 import blob

__all__ = [
    "Config",
    "ConfigError",
    "DvcException",
    "LockError",
    "NotDvcRepoError",
    "Output",
    "ParamsDependency",
    "Repo",
    "RunCacheNotFoundError",
    "StageCmdFailedError",
    "in_order",
    "knows_result",
    "modify_yaml",
    "set_loggers_level",
    "yaml_by",
    "yaml_functions",
]

_LOOK_AGAIN = 0.05  # seconds


class _Blob(blob._BlobIO):
    """A file of a commit, read by a thread, of which pygit2 may clear the last signal before it has seen it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A wait that ends looks whether there is more, or the thread has ended, and waits again if neither.
        self._ready.wait = partial(self._ready.wait, timeout=_LOOK_AGAIN)  # type: ignore[method-assign]


blob._BlobIO = _Blob  # type: ignore[misc]

Parse = Callable[..., Any]
Dump = Callable[[Any, Any], None]


def yaml_functions() -> tuple[Parse, Dump]:
    """Return the functions by which DVC parses and dumps YAML."""
    return _yaml.parse_yaml, _yaml._dump


@contextmanager
def yaml_by(parse: Parse, dump: Dump) -> Iterator[None]:
    """Have DVC parse and dump YAML by these functions in the block."""
    own_parse, own_dump = yaml_functions()
    _yaml.parse_yaml = strictyaml.parse_yaml = parse
    _yaml._dump = dump
    try:
        yield
    finally:
        _yaml.parse_yaml = strictyaml.parse_yaml = own_parse
        _yaml._dump = own_dump


def in_order(repo: Any) -> list[Any]:
    """Return the stages of the pipeline in the order in which `dvc repro` goes."""
    return [stage for stage in plan_repro(get_active_graph(repo.index.graph)) if isinstance(stage, PipelineStage)]


def knows_result(repo: Any, stage: Any) -> bool:
    """Tell whether the run cache knows the results of a stage for its inputs as they are, and the cache has them."""
    cache = repo.stage_cache
    entry = cache._load(stage) if _can_hash(stage) else None
    return bool(entry) and bool(cache._create_stage(entry, wdir=stage.wdir).outs_cached())
