"""What Trunkline asks of a forge, and how it deals with one that fails; each forge's library is behind it.

What a forge says of an error is shown on one line and cut; addresses are not, since a storage's may be signed.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_chain, wait_fixed

from trunkline.core.errors import OutsideError, UserError

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds between attempts, where the forge does not say how long
PATIENCE = 120.0  # the longest time in seconds that it may ask for
TIMEOUT = 20  # seconds for an answer to begin

State = Literal["success", "failure", "pending"]
STATES: tuple[State, ...] = ("success", "failure", "pending")
T = TypeVar("T")


class ForgeError(OutsideError):
    """A forge that does not do what it is asked for.

    `passing` says that it may if it is asked again, `wait` after how many seconds it says so.
    """

    def __init__(self, message: str, *, passing: bool = False, wait: float | None = None) -> None:
        super().__init__(message)
        self.passing = passing
        self.wait = wait


@dataclass(frozen=True)
class PullRequest:
    """An open pull request, or merge request: its number, and the page where a person sees it."""

    number: int
    url: str


@dataclass(frozen=True)
class BranchPullRequest:
    """The newest pull request of a branch, whatever became of it: its head when it was last seen, and its text."""

    number: int
    url: str
    sha: str
    body: str
    state: Literal["open", "closed", "merged"]


@dataclass(frozen=True)
class Comment:
    """A comment, and the login of its author."""

    id: int
    author: str
    body: str


@dataclass(frozen=True)
class Issue:
    """An issue: its number, the page where a person sees it, what it says, the login of its author, and its state."""

    number: int
    url: str
    title: str
    body: str
    author: str
    open: bool


@dataclass(frozen=True)
class Merged:
    """A pull request that is merged, and whose work it is.

    approvers: those whose last word before the merge was to approve the very commit that was merged; not counted are
    an approval of an older one, which is stale, the author's own, and that of somebody who may not push here, or no
    longer, which binds nobody.
    """

    number: int
    url: str
    title: str
    author: str
    merged_by: str
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guards:
    """What the forge enforces on a branch and on version tags; None is what this token cannot see.

    pull_request_required: nobody pushes past a pull request. approvals: how many one takes. code_owners: theirs is
    among them. checks: names of those that must pass. force_push_blocked, deletion_blocked: of the branch.
    tags_protected: a version tag that exists can be neither moved nor deleted.
    """

    pull_request_required: bool | None = None
    approvals: int | None = None
    code_owners: bool | None = None
    checks: tuple[str, ...] | None = None
    force_push_blocked: bool | None = None
    deletion_blocked: bool | None = None
    tags_protected: bool | None = None


class Forge(Protocol):
    """A repository on a forge. Every method raises ForgeError."""

    def me(self) -> str:
        """Return the login that this token's comments have."""

    def pull_request(self, sha: str) -> PullRequest | None:
        """Return the open pull request whose head is this commit, of a fork too; the oldest if there are more."""

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Return all comments on a pull request, oldest first."""

    def create_comment(self, number: int, body: str) -> None:
        """Comment on a pull request; after an error the comment may be there all the same."""

    def update_comment(self, number: int, comment: int, body: str) -> None:
        """Replace the text of a comment."""

    def issues(self, since: datetime) -> tuple[Issue, ...]:
        """Return all open issues, and the closed ones that were changed since then, the oldest first."""

    def create_issue(self, title: str, body: str) -> Issue:
        """Open an issue; after an error it may be there all the same."""

    def update_issue(self, number: int, title: str, body: str, *, is_open: bool) -> None:
        """Replace the texts of an issue, and close or reopen it where it is not as `is_open` says."""

    def issue_comments(self, number: int) -> tuple[Comment, ...]:
        """Return all comments on an issue, oldest first."""

    def create_issue_comment(self, number: int, body: str) -> None:
        """Comment on an issue; after an error the comment may be there all the same."""

    def set_status(self, sha: str, context: str, state: State, description: str, url: str | None) -> None:
        """Set the check of this name on a commit; `url` is where a person reads more."""

    def artifact(self, run: int, name: str, limit: int) -> bytes:
        """Return the zip archive of this name that a run has left; raises UserError for none, or beyond the limit."""

    def open_pull_request(self, branch: str, base: str, title: str, body: str) -> PullRequest:
        """Open a pull request of a branch here, or bring the title and text of the open one up to date."""

    def pull_request_of(self, branch: str, base: str) -> BranchPullRequest | None:
        """Return the open pull request of a branch here into another one, or else the newest that there was."""

    def merge_when_ready(self, number: int, sha: str) -> bool:
        """Have a pull request merged as soon as all that is required is there; tell whether it is merged already.

        `sha` is the head that is meant; another one is an error, and so is a base that has nothing checked.
        """

    def merged(self, sha: str, branch: str) -> Merged | None:
        """Return the pull request that brought a commit to this branch; None where none did, as by a push."""

    def guards(self, branch: str, tag: str) -> Guards:
        """Return what protects a branch, and tags like this one, such as `flight-delay@v1`."""


def retried(call: Callable[[], T], tell: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> T:
    """Call until the forge answers, a few times; what is called must first look whether it is already done."""

    def announce(state: RetryCallState) -> None:
        tell(f"{_error(state)}; trying again in {state.upcoming_sleep:.0f} s")

    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        wait=_wait,
        stop=stop_after_attempt(len(PAUSES) + 1),
        before_sleep=announce,
        sleep=sleep,
        reraise=True,
    )
    return retrying(call)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, ForgeError) and error.passing and (error.wait or 0) <= PATIENCE


def _wait(state: RetryCallState) -> float:
    """Return the seconds that the forge asks to wait, else those of the schedule."""
    error = _error(state)
    asked = error.wait if isinstance(error, ForgeError) else None
    return _schedule(state) if asked is None else asked


_schedule = wait_chain(*map(wait_fixed, PAUSES))


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def refused(what: str, status: int, said: object, needs: str, headers: Mapping[str, str] | None = None) -> ForgeError:
    """Return the error for an answer of this HTTP status; `needs` are the rights that the call takes."""
    asked = _asked({key.lower(): value for key, value in (headers or {}).items()})
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(said or "")).split())
    answer = f"{what}: the forge answers {status}{f' ({text[:160]})' if text else ''}"
    if status == 429 or status >= 500 or (status == 403 and asked is not None):
        hint = f", and asks to wait {asked:.0f} s" if asked is not None else ""
        return ForgeError(f"{answer}{hint}", passing=True, wait=asked)
    if status == 401:
        return ForgeError(f"{answer}; the token is wrong or has expired")
    if status in (403, 404):
        return ForgeError(f"{answer}; the token needs {needs}")
    return ForgeError(answer)


def unreachable(what: str, error: Exception) -> ForgeError:
    """Return the error for a forge that gave no answer, or half of one."""
    return ForgeError(f"{what}: no answer from the forge ({type(error).__name__})", passing=True)


def odd(what: str, error: Exception) -> ForgeError:
    """Return the error for an answer that is not the forge's API's."""
    return ForgeError(f"{what}: the answer is not understood ({type(error).__name__}); is the address that of the API?")


def limited(chunks: Iterable[bytes], limit: int) -> bytes:
    """Return what arrives; raises UserError as soon as it is too much."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > limit:
            raise UserError(f"artifact: has more than {limit:,} bytes")
    return bytes(content)


def meant(what: str, head: str, sha: str, *, closed: bool) -> None:
    """Raise ForgeError for a pull request that is closed, or whose head is not, or not yet, the one that is meant."""
    if closed:
        raise ForgeError(f"{what}: it is closed")
    if head != sha:
        raise ForgeError(f"{what}: its head is {head[:12]}, not {sha[:12]}", passing=True)


def plain(text: str | None) -> str:
    """Return a text as forges keep it: neither with other line ends nor with what is at the ends."""
    return (text or "").replace("\r\n", "\n").strip()


def _asked(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a limited forge asks to wait, in either of GitHub's two ways."""
    after = headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,6}", after):
        return float(after)
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and re.fullmatch(r"\d{1,12}", reset):
        return max(1.0, int(reset) - time.time() + 1)
    return None
