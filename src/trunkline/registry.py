"""models/registry.yaml, the desired state: which version of the model each environment is to run.

It is changed by a commit and by nothing else; what runs is brought in line with it, never the other way round.
"""

import re
from pathlib import Path

from trunkline import conffiles
from trunkline.core import files
from trunkline.core.errors import UserError, nearest

ENVIRONMENTS = ("production", "staging")


def production(path: Path, name: str) -> int | None:
    """Return the number of the version that production is to run; None if there is none yet.

    Raises UserError for a file that is missing, knows no such model, or is not of the form
    `<name>: {staging: latest | vN, production: vN | null}`.
    """
    versions = _environments(path, name)
    found = versions["production"]
    if found is None:
        return None
    if not isinstance(found, str) or not re.fullmatch(r"v[1-9]\d*", found):
        raise UserError(f"{path}: {name}.production: must be a version such as v3, or null, not {found!r}")
    return int(found[1:])


def _environments(path: Path, name: str) -> dict[str, object]:
    try:
        conffiles.lint_file(path)
        content = files.parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: there is no such file; write: {name}: {{staging: latest, production: null}}"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get(name), dict):
        known = content if isinstance(content, dict) else {}
        raise UserError(f"{path}: has no model {name}{nearest(name, map(str, known))}")
    environments: dict[str, object] = content[name]
    if sorted(map(str, environments)) != sorted(ENVIRONMENTS):
        raise UserError(
            f"{path}: {name}: must have exactly production and staging, has {', '.join(map(str, environments))}"
        )
    return environments
