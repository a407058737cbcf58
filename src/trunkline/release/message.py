"""The message of a version's tag: what a release announces, written and read back."""

import base64
import binascii
import re

from trunkline.conf.versions import Version
from trunkline.core.errors import UserError
from trunkline.release.provenance import SHA256, Announced, ReviewFacts

_BEGIN, _END = (f"-----{word} TRUNKLINE PROVENANCE-----" for word in ("BEGIN", "END"))
_LOGIN = r"[\w.-]+(?:\[bot\])?"
_WIDTH = 76  # characters of base64 on a line
_REVIEW = re.compile(rf"#([1-9]\d{{0,9}}) by ({_LOGIN})(?:, approved by ({_LOGIN}(?:, {_LOGIN})*))?", re.ASCII)
_HEADERS = {"bundle": SHA256, "verdict": SHA256, "pull request": _REVIEW}


# The tag's message


def message(announced: Announced) -> str:
    """Return the message of a version's tag; raises UserError for a review that it cannot hold."""
    if announced.review and _reviewed_by(str(announced.review)) != announced.review:
        raise UserError(
            f"{announced.version}: the review {str(announced.review)!r} names somebody with no login's name"
        )
    text = base64.b64encode(announced.signed.encode()).decode()
    lines = (text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH))
    title = f"{announced.version.name} {announced.version.label}"
    headers = [f"bundle: {announced.bundle}", f"verdict: {announced.verdict}"]
    if announced.review:
        headers.append(f"pull request: {announced.review}")
    return "\n".join([title, "", *headers, "", _BEGIN, *lines, _END, ""])


def parse_message(text: str) -> Announced:
    """Return what the message of a version's tag announces; raises UserError with a line per defect."""
    head, began, rest = text.partition(f"\n{_BEGIN}\n")
    body, ended, after = rest.partition(_END)
    title, *lines = head.split("\n")
    version = Version.of_tag(title.replace(" ", "@", 1))
    headers, defects = _parsed(lines)
    if version is None:
        defects.insert(0, "its first line is not a name and a version, such as: flight-delay v4")
    defects += [f"has no line '{key}: …'" for key in ("bundle", "verdict") if key not in headers]
    if not began or not ended:
        defects.append(f"has no line {_END if began else _BEGIN}")
    if ended and after.strip("\n"):
        defects.append("goes on after the end of its provenance")
    signed = _unwrapped(body)
    if ended and signed is None:
        defects.append("its provenance is not base64 of a text")
    if version is None or signed is None or defects:
        raise _no_message(defects)
    announced = Announced(
        version, headers["bundle"], headers["verdict"], _reviewed_by(headers.get("pull request")), signed
    )
    if message(announced).rstrip("\n") != text.removesuffix("\n"):
        raise _no_message(["is spaced, ordered or wrapped in another way"])
    return announced


def _no_message(defects: list[str]) -> UserError:
    return UserError("\n".join(f"the tag's message is not one of trunkline release: {defect}" for defect in defects))


def _parsed(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the headers, and what is wrong with them."""
    headers: dict[str, str] = {}
    defects = []
    for line in filter(None, lines):
        key, _, value = line.partition(": ")
        if key not in _HEADERS:
            defects.append(f"has an unknown line {line[:60]!a}")
        elif key in headers:
            defects.append(f"has two lines '{key}: …'")
        elif not _HEADERS[key].fullmatch(value):
            defects.append(f"{key}: cannot be {value[:80]!a}")
        headers.setdefault(key, value)
    return headers, defects


def _reviewed_by(text: str | None) -> ReviewFacts | None:
    match = _REVIEW.fullmatch(text or "")
    return ReviewFacts(int(match[1]), match[2], tuple(match[3].split(", ")) if match[3] else ()) if match else None


def _unwrapped(body: str) -> str | None:
    try:
        return base64.b64decode(body.replace("\n", ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
