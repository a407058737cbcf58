"""All at once where that goes, and otherwise by halves: a batch with one bad message costs a few calls more."""

import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TypeVar

from trunkline.serve.problems import ProblemError
from trunkline.serve.stream.message import OutageError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


def by_halves(
    work: Callable[[Sequence[_Item]], Sequence[_Result]], items: Sequence[_Item]
) -> list[_Result | ProblemError]:
    """Return what `work` makes of each item, or why it refuses it; `work` is given as many at once as it takes.

    Raises OutageError where a store does not answer, which is no item's fault.
    """
    if not items:
        return []
    try:
        return list(work(items))
    except ProblemError as problem:
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise OutageError(problem.detail) from None
        if len(items) == 1:
            return [problem]
    except Exception:
        if len(items) == 1:
            _log.exception("a message cannot be worked on")
            return [ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "the worker failed on it; its log says why")]
    middle = len(items) // 2
    return [*by_halves(work, items[:middle]), *by_halves(work, items[middle:])]
