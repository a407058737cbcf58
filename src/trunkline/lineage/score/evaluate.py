"""The score of a project: which tests and levels its proofs reach, with the evidence and what is missing. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trunkline.lineage.score.levels import LEVELS
from trunkline.lineage.score.project import Project
from trunkline.lineage.score.proofs import Proof
from trunkline.lineage.score.rubric import SECTIONS, TESTS, Section, Test


@dataclass(frozen=True)
class Evidence:
    """What is shown, and where: a path with its line, a tag or a commit."""

    shows: str
    where: str


@dataclass(frozen=True)
class Point:
    """A test with 0, half or a whole point, the evidence, and what is missing for a whole one."""

    section: Section
    number: int
    claim: str
    points: float
    evidence: tuple[Evidence, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Reached:
    """A level, whether it is reached, the evidence, and what is missing."""

    number: int
    name: str
    reached: bool
    evidence: tuple[Evidence, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """The score of a commit: points by section, of 7 each, and the highest level that is reached with all below it."""

    commit: str
    sections: dict[Section, float]
    tests: tuple[Point, ...]
    levels: tuple[Reached, ...]

    @property
    def total(self) -> float:
        """The points of the lowest section."""
        return min(self.sections.values())

    @property
    def level(self) -> Reached:
        """The highest level that is reached."""
        return [level for level in self.levels if level.reached][-1]


def evaluate(project: Project) -> Score:
    """Return the score of a project."""
    tests = tuple(
        _point(test, number, project)
        for section in SECTIONS
        for number, test in enumerate((each for each in TESTS if each.section == section), 1)
    )
    sums = {name: sum(point.points for point in tests if point.section == name) for name in SECTIONS}
    return Score(project.commit, sums, tests, _levels(project))


def content(score: Score) -> dict[str, Any]:
    """Return a score as JSON has it."""
    return asdict(score) | {"total": score.total, "level": score.level.number}


def _point(test: Test, number: int, project: Project) -> Point:
    done, lacking = _sought(test.done, project)
    automated, more = _sought(test.automated, project)
    points = 0.0 if lacking else 0.5 if more else 1.0
    return Point(test.section, number, test.claim, points, (*done, *automated), (*lacking, *more))


def _levels(project: Project) -> tuple[Reached, ...]:
    levels: list[Reached] = []
    for number, level in enumerate(LEVELS, 1):
        evidence, missing = _sought(level.proofs, project)
        below = all(each.reached for each in levels)
        levels.append(Reached(number, level.name, below and not missing, evidence, missing))
    return tuple(levels)


def _sought(wanted: Sequence[Proof], project: Project) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """Return what is proved, and what is missing."""
    sought = [(proof, proof.find(project)) for proof in wanted]
    return (
        tuple(Evidence(proof.shows, where) for proof, where in sought if where),
        tuple(proof.lacks for proof, where in sought if not where),
    )
