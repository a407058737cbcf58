"""Changes in models/registry.yaml what one environment is to run, and nothing else that a person has written there."""

from pathlib import Path

from trunkline.conf import registry as conf_registry
from trunkline.conf.registry import Declaration, Registry
from trunkline.core.errors import UserError
from trunkline.pipeline.compose import edit


def edited(text: str, registry: Registry, environment: str, declaration: Declaration) -> str:
    """Return the text of a registry file in which one environment is declared otherwise, and all else is as it was.

    Of an environment that is a mapping before and after, only the keys that differ change. Raises UserError where that
    cannot be done, or where it cannot be what the environment is to run.
    """
    wanted = {**registry.environments, environment: declaration}
    try:
        if environment in registry.environments:
            changed = _edited(text, (registry.name, environment), registry.environments[environment], declaration)
            if conf_registry.parse(changed, registry.name, Path(registry.where)).environments == wanted:
                return changed
    except UserError:
        pass
    raise UserError(
        f"{registry.where}: {registry.name}.{environment}: cannot be edited; "
        f"write by hand: {environment}: {declaration}"
    ) from None


def _edited(text: str, key: tuple[str, str], before: Declaration, after: Declaration) -> str:
    old, new = before.content, after.content
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return edit.put(text, key, new)
    for name, value in new.items():
        if old.get(name) != value or name not in old:
            text = edit.put(text, (*key, name), value)
    for name in old:
        if name not in new:
            text = edit.drop(text, (*key, name))
    return text
