"""What a check has found: whether a part of the set-up works, and if not, what to do. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from trunkline.core.errors import TrunklineError
from trunkline.show.text import clean

PIPELINE = Path("dvc.yaml")

# fails: it is there and does not work, or nothing works without it. not set up: only some features need it.
# not known: nobody here may see it.
State = Literal["works", "fails", "not set up", "not known"]


@dataclass(frozen=True)
class Finding:
    """One part of a set-up, its state, and what to do about it; `advice` is empty where there is nothing to do."""

    state: State
    what: str
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class Setup:
    """What is looked at: the root of a project, its trunk, and the environment of this process."""

    root: Path
    trunk: str
    environ: Mapping[str, str]

    @property
    def is_project(self) -> bool:
        """Whether the root is that of a project, of which more can be looked at."""
        return (self.root / PIPELINE).is_file()


Check = Callable[[Setup], Iterable[Finding]]


def works(what: str, detail: str) -> Finding:
    """Return that something works."""
    return Finding("works", what, clean(detail))


def fails(what: str, detail: str, advice: str) -> Finding:
    """Return that something does not work."""
    return Finding("fails", what, clean(detail), clean(advice))


def absent(what: str, detail: str, advice: str) -> Finding:
    """Return that something which only some features need is not set up."""
    return Finding("not set up", what, clean(detail), clean(advice))


def refused(what: str, error: TrunklineError, otherwise: str) -> Finding:
    """Return that something does not work; what to do is what the error ends in, or else `otherwise`."""
    reason, _, advice = str(error).partition("; ")
    return fails(what, reason, advice or otherwise)


def content(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return findings as plain content."""
    checks = [asdict(finding) for finding in findings]
    return {"checks": checks, "works": not any(check["state"] == "fails" for check in checks)}
