"""Runs a stage and records the project's files that it read: `python record.py RECORD stages/train.py`."""

import atexit
import json
import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path.cwd()
opened: set[str] = set()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str) and "w" not in str(arguments[1] or ""):
        opened.add(arguments[0])


def _write(record: Path) -> None:
    modules = {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    inside = {
        path.relative_to(ROOT) for name in opened | modules if (path := Path(name).absolute()).is_relative_to(ROOT)
    }
    files = sorted(str(path) for path in inside if (ROOT / path).is_file() and path.parts[0] not in (".venv", ".dvc"))
    record.write_text(json.dumps(files), encoding="utf-8")


if __name__ == "__main__":
    record, stage = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [stage]
    sys.path[0] = str(Path(stage).parent.absolute())
    atexit.register(_write, record)
    sys.addaudithook(_audit)
    runpy.run_path(stage, run_name="__main__")
