"""The forge that a verb proposes its change on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline.adapters.forge.api import Forge


def forge_or_local() -> "Forge":
    """Return the forge of the environment; raises UserError that names --local where there is none."""
    import os

    from trunkline.adapters.forge import connect
    from trunkline.core.errors import UserError

    try:
        return connect.connect(os.environ)
    except UserError as error:
        raise UserError(f"{error}; or ask no forge: --local") from None
