"""Where the verbs that can be divided run, as conf/engine declares."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline.conf.engine import Engine


def declared() -> "Engine":
    """Return what params.yaml of the folder says, or what is true without it: this process."""
    from trunkline.conf.engine import Engine
    from trunkline.core.params import Params
    from trunkline.core.paths import PARAMS

    return Params.read().group(Engine) if PARAMS.exists() else Engine()
