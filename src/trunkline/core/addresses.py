"""What an address may hold and what of it may be shown: git and logs keep what they are given for ever."""

import re
from urllib.parse import parse_qsl, urlsplit

_SECRET = re.compile(r"passw|pwd|secret|token|credential|signature|^sig$|api_?key|access_?key", re.IGNORECASE)


def holds_a_secret(address: str) -> bool:
    """Tell whether a password, a token or a signature stands in an address, or what cannot be told from one."""
    try:
        parts = urlsplit(address)
    except ValueError:  # a malformed host, in which nothing can be told apart
        return "@" in address
    if parts.password is not None or any(is_secret(key) for key, _ in parse_qsl(parts.query)):
        return True
    return parts.scheme in ("http", "https") and parts.username is not None  # a token stands there


def is_secret(name: str) -> bool:
    """Tell whether a parameter or a property of this name is one that keeps a secret."""
    return bool(_SECRET.search(name))


def shown(address: str) -> str:
    """Return an address without user, password, token and query, fit for a message."""
    return re.sub(r"//.*@", "//", address).partition("?")[0]
