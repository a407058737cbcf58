"""What the pipeline has made of a retraining, by the reports of its branch's tip, beside those of where it left."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from trunkline.adapters.git.snapshot import Snapshot
from trunkline.conf.evaluation import WHOLE
from trunkline.core import durations, paths
from trunkline.core.params import dig
from trunkline.pipeline.evaluate.estimate import Slice
from trunkline.pipeline.reports import DatasetReport, GatesReport, Past

READ = (paths.GATES_REPORT, paths.SLICES, paths.DATASET, paths.LOCK)


@dataclass(frozen=True)
class Result:
    """The verdict of the gates, the whole holdout, the rows that were learnt from, and the stages that ran again.

    `before` and `learnt_before` are of the commit that the branch has left, `seconds` what those stages took when they
    last ran on this machine; None is what a report does not say, or a stage that has not run here.
    """

    gates: GatesReport
    holdout: Slice | None
    before: Slice | None
    learnt: int | None
    learnt_before: int | None
    stages: tuple[str, ...]
    seconds: float | None = None

    @property
    def helps(self) -> bool:
        """Whether the gates let it pass."""
        return self.gates.verdict == "pass"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not pass."""
        return tuple(each.reason for each in self.gates.gates if each.blocking and each.verdict == "fail")


def read(root: Path, base: str, commit: str) -> Result | None:
    """Return what the pipeline has made of a commit; None where its reports cannot be read."""
    before, after = Snapshot(root, base, READ), Snapshot(root, commit, READ)
    try:
        gates = GatesReport.model_validate(after.mapping(paths.GATES_REPORT), strict=False)
    except ValidationError:
        return None
    locked, now = (dig(each.mapping(paths.LOCK), "stages") or {} for each in (before, after))
    stages = tuple(name for name, entry in now.items() if locked.get(name) != entry)
    took = durations.read(root)
    return Result(
        gates=gates,
        holdout=_whole(after),
        before=_whole(before),
        learnt=_learnt(after),
        learnt_before=_learnt(before),
        stages=stages,
        seconds=sum(took[name] for name in stages) if took.keys() >= set(stages) else None,
    )


def _whole(files: Snapshot) -> Slice | None:
    past = Past.understood({paths.SLICES.stem: files.text(paths.SLICES)})
    return (past.slices or {}).get(WHOLE, {}).get(WHOLE)


def _learnt(files: Snapshot) -> int | None:
    try:
        return DatasetReport.model_validate(files.mapping(paths.DATASET), strict=False).windows.train.rows
    except ValidationError:
        return None
