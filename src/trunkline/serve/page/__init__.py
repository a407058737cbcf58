"""The page at /docs, on which a person fills in a row and sees its score and why: one file that needs no network.

It holds nothing of the model and no secret: its script asks the server for /openapi.json, with the key that is typed
in.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

from trunkline.serve.http import Response

_FOLDER = Path(__file__).parent


@cache
def page() -> Response:
    """Return the page, with a policy by which a browser runs this script alone and asks nobody but this server."""
    style, script = (_FOLDER.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    text = _FOLDER.joinpath("page.html").read_text(encoding="utf-8")
    body = text.replace("{{ style }}", style).replace("{{ script }}", script)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; img-src data:; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    return Response(body.encode(), media_type="text/html; charset=utf-8", headers=headers)


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
