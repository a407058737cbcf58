"""The templates of the targets, and how values stand in them. Pure."""

import json
from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(name: str, values: Mapping[str, object]) -> str:
    """Return a template, such as `container/compose.yaml.j2`, with its values filled in; it ends with one line end."""
    return _environment().get_template(name).render(values)


@cache
def _environment() -> Environment:
    # No page: what is filled in is quoted as JSON, which YAML and Dockerfiles read, or of a grammar without quotes.
    environment = Environment(
        loader=PackageLoader("trunkline.deploy.targets", ""),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment
