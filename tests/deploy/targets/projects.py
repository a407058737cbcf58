"""What a project declares, as far as targets are written of it."""

import copy
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

DIGEST = "sha256:" + "5f" * 32
KEY = """\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


def image(name: str) -> str:
    return f"registry.example.org/{name}@{DIGEST}"


MINIMAL: dict[str, Any] = {
    "name": "flight_delay",
    "deploy": {
        "signers": {"release": {"key": KEY}},
        "environments": {"staging": {"merge": "automatic"}, "production": {}},
        "targets": {"origin": "git@host.example.org:team/flights.git", "container": {"base": image("python")}},
    },
    "serving": {},
    "tracking": {"experiment": "flights"},
    "monitoring": {},
}


def declared(**changes: Any) -> dict[str, Any]:
    """Return what is declared, with other values at paths of keys, such as serving__bind."""
    content = copy.deepcopy(MINIMAL)
    for path, value in changes.items():
        *folders, last = path.split("__")
        place = content
        for key in folders:
            place = place.setdefault(key, {})
        place[last] = copy.deepcopy(value)
    return content


def project(folder: Path, **changes: Any) -> Path:
    """Write a project that declares it, with the framework's locks."""
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    for lock in ROOT.glob("locks/*.txt"):
        shutil.copy(lock, folder / "locks")
    (folder / "params.yaml").write_text(yaml.safe_dump(declared(**changes)), encoding="utf-8")
    return folder
