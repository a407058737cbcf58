"""JSON and YAML files of any commit, read with patience: what is not there or cannot be understood is None."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from trunkline.core import safe_yaml
from trunkline.core.files import parse_json


def parsed(files: Mapping[Path, bytes], path: Path) -> Any:
    """Return the content of one of the files, by the suffix of its name JSON, else YAML; it is not to be changed."""
    return _parsed(files[path], path.suffix) if path in files else None


@lru_cache(maxsize=64)  # most files of a history are the same in many commits, and dvc.lock takes 50 ms
def _parsed(content: bytes, suffix: str) -> Any:
    parse = parse_json if suffix == ".json" else safe_yaml.parse_yaml
    try:
        return parse(content.decode())
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def mapping(files: Mapping[Path, bytes], path: Path) -> dict[str, Any] | None:
    """Return the content of one of the files if it is a mapping."""
    content = parsed(files, path)
    return content if isinstance(content, dict) else None
