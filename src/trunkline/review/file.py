"""A review as a file: written by a run that may not write to the forge, read by one that may and trusts none of it.

Whoever opens a pull request decides what its run leaves. So what is read is what `encode` would have written, byte for
byte, within limits that keep its rendering short; anything else is refused.
"""

import json
import math
import re
from dataclasses import replace
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from trunkline.core import files
from trunkline.core.errors import UserError
from trunkline.review.data import Review
from trunkline.show.differences import Difference

LIMIT = 2_000_000  # bytes; a review of ten metrics, a hundred slices and fifty rules has some hundred thousand
DEPTH, LONGEST, LARGEST = 16, 20_000, 2**53  # levels of nesting, characters of a text, and an integer

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ADAPTER = TypeAdapter(Review)


def encode(review: Review) -> bytes:
    """Return the review as JSON in UTF-8; equal reviews give equal bytes."""
    content = _ADAPTER.dump_python(replace(review, config=tuple(map(_written, review.config))), mode="json")
    return files.canonical_json(content, digits=None).encode(errors="replace")


def decode(data: bytes) -> Review:
    """Return the review that these bytes are; raises UserError for bytes that `encode` would not have written."""
    if len(data) > LIMIT:
        raise UserError(f"review: has more than {LIMIT:,} bytes, which no review has")
    try:
        _bounded(json.loads(data, parse_constant=_no_number))
        review = _ADAPTER.validate_json(data, strict=True)
    except ValidationError as error:
        key = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
        raise UserError(f"review: {ascii(key[:60])[1:-1]} is not what trunkline review writes") from None
    except (ValueError, RecursionError):
        raise UserError("review: is not JSON as trunkline review writes it") from None
    if encode(review) != data:
        raise UserError("review: has keys, values or spaces that trunkline review does not write")
    for name, commit in (("head", review.head), ("base", review.base)):
        if not _COMMIT.fullmatch(commit):  # the comment shows it in a command that a person copies
            raise UserError(f"review: {name} is no commit's full hash")
    return review


def _written(config: Any) -> Any:
    """Return a changed key whose values JSON can hold: .inf and .nan are written as a person reads them."""
    change = config.change
    return replace(config, change=Difference(change.key, _finite(change.before), _finite(change.after)))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _bounded(value: Any, depth: int = 0) -> None:
    """Raise UserError for what would take long to render, or is too large a number."""
    if depth > DEPTH:
        raise UserError(f"review: is nested deeper than {DEPTH} levels")
    if isinstance(value, str) and len(value) > LONGEST:
        raise UserError(f"review: has a text of more than {LONGEST:,} characters")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise UserError(f"review: has an integer beyond {LARGEST:,}")
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in parts:  # a key is a text too
        _bounded(item, depth + 1)
