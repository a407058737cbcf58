"""Texts of others, made fit to be shown."""

import re
import unicodedata

from trunkline.core.errors import UserError


def clean(text: str) -> str:
    """Return a text on one line, without control, direction and surrogate characters."""
    kept = (" " if letter.isspace() else letter for letter in text)
    return "".join(letter for letter in kept if unicodedata.category(letter) not in ("Cc", "Cf", "Cs"))


_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&+,;=%-]{1,500}")


def address(url: str) -> str:
    """Return an address that may stand in a link; raises UserError for another text."""
    if not _URL.fullmatch(url):
        raise UserError("--url: is no address of a run, such as https://github.com/owner/name/actions/runs/1")
    return url
