"""params.yaml as plain content, for whoever needs no types."""

from pathlib import Path
from typing import Any

import yaml

from trunkline.core import safe_yaml
from trunkline.core.errors import UserError
from trunkline.core.paths import PARAMS


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read a params.yaml as plain content.

    Raises UserError where there is none, or it is not a mapping.
    """
    try:
        content = safe_yaml.parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run: trunkline compose") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}; run: trunkline compose") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of groups; run: trunkline compose")
    return content
