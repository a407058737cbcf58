"""A version's dossier as one HTML file, for a browser without a network, and for its printer."""

from collections.abc import Mapping
from typing import Any

from trunkline.review import page

TEMPLATE = "dossier/page.html.j2"


def render(content: Mapping[str, Any]) -> str:
    """Return the page of what `lineage.dossier.content` gives; equal content gives equal text."""
    return page.filled(TEMPLATE, {"dossier": content})
