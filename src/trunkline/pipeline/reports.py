"""What the stages leave in reports/, read into typed structures; whatever is missing or odd is refused here."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass

from trunkline.conf.evaluation import WHOLE
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json
from trunkline.core.values import Name
from trunkline.pipeline.evaluate.estimate import Chosen, Decided, Estimate, Slice

EVALUATED = (paths.SLICES, paths.BACKTEST, paths.DECISION, paths.DATASET, paths.VALIDATION)
MEASURED = (*EVALUATED, paths.BUNDLE_REPORT)
FILES = (paths.METRICS, *MEASURED, paths.GATES_REPORT)
LATER = {paths.BACKTEST, paths.DECISION}  # that commits of older versions do not have


Answer = Literal["pass", "fail", "not_applicable"]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)


class WindowReport(_File):
    """Rows of a window: those used, and those left out for want of a label, or of one in time."""

    rows: int
    unlabelled: int
    label_not_yet_known: int
    base_rate: float | None  # the mean label of a regression; None of several classes
    class_shares: dict[str, float] | None = None
    quantiles: dict[str, float] | None = None  # the labels' own, of a task that scores some


class WindowsReport(_File):
    """The two windows."""

    train: WindowReport
    holdout: WindowReport


class DatasetReport(_File):
    """Rows and features that the features stage made."""

    source_rows: int
    unlabelled: int
    windows: WindowsReport
    features: dict[str, int]
    outside_windows: int | None = None  # of reports that were written before it was counted
    without_time: int | None = None

    @property
    def elsewhere(self) -> str:
        """How many rows are in neither window, in words that follow a sentence; with the windows' they add up."""
        if not self.outside_windows and not self.without_time:
            return ""
        return f"; {self.outside_windows or 0:,} are outside both windows, {self.without_time or 0:,} have no time"


class TableReport(_File):
    """What became of the rows of a source table, and how many broke which rule."""

    rows: int
    quarantined: int
    checks: dict[str, int]


class OriginReport(_File):
    """An origin of the backtest, its day; rows learnt from and measured on; metrics, None where not defined."""

    origin: date
    learnt_from: int
    n: int
    metrics: dict[Name, float | None]


class BacktestReport(_File):
    """The origins of the backtest, the earliest first, and each metric over them; empty where none is declared."""

    origins: tuple[OriginReport, ...] = ()
    metrics: dict[Name, Estimate] = {}

    @property
    def first(self) -> str | None:
        """The first metric, which pictures show."""
        return next(iter(self.metrics), None)


class DecisionReport(_File):
    """What deciding by the chosen threshold costs; None where no costs are declared."""

    decided: Decided | None = None

    @property
    def chosen(self) -> Chosen | None:
        """The threshold."""
        return self.decided.chosen if self.decided else None


class Evaluated(_File):
    """The files of reports/, by name, up to and with those of the evaluation."""

    slices: dict[str, dict[str, Slice]]
    dataset: DatasetReport
    validation: dict[str, TableReport]
    backtest: BacktestReport = BacktestReport()
    decision: DecisionReport = DecisionReport()

    @field_validator("slices")
    @classmethod
    def _holds_the_whole(cls, slices: dict[str, dict[str, Slice]]) -> dict[str, dict[str, Slice]]:
        if WHOLE not in slices.get(WHOLE, {}):
            raise ValueError(f"the whole holdout is missing ({WHOLE}.{WHOLE})")
        return slices

    @classmethod
    def parse(cls, content: dict[str, Any]) -> Self:
        """Check content as `read` returns it; raises UserError naming the file and the first wrong key."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            file, *keys = map(str, first["loc"] or ("*",))
            where = ": ".join([f"reports/{file}.json", *filter(None, [".".join(keys)])])
            raise UserError(f"{where}: {first['msg'].removeprefix('Value error, ')}; run: dvc repro") from None


class Parity(_File):
    """How the bundle's scores compare with those of the evaluated pipeline, over `rows` rows.

    `adversarial` of them were made to find differences; `flips` have another predicted label.
    """

    rows: int
    adversarial: int
    difference_below: float
    flips: int


class BundleReport(_File):
    """The bundle; runtime sklearn has a reason why, and parity is None where no graph could be compared."""

    digest: str
    runtime: Literal["onnx", "sklearn"]
    reason: str | None
    parity: Parity | None
    bytes: int


class MeasuredReports(Evaluated):
    """The files of reports/, by name, up to and with that of the bundle."""

    bundle: BundleReport


@dataclass(frozen=True)
class Verdict:
    """What became of one rule, or of one value of its slice.

    `observed`, `interval` and `threshold` are what was tested and against what, in the rule's unit; `baseline` is what
    the observed value is seen beside, such as the spread from seed to seed.
    """

    id: str
    kind: str
    blocking: bool
    verdict: Answer
    reason: str
    metric: str | None = None
    slice: str | None = None
    observed: float | None = None
    baseline: float | None = None
    threshold: float | None = None
    interval: tuple[float, float] | None = None


class ChampionReport(_File):
    """A version of the model, and the digest of its bundle."""

    version: str
    digest: str


class GatesReport(_File):
    """The verdicts on the bundle of digest `challenger`; `champion` is None where production has none."""

    verdict: Literal["pass", "fail"]
    challenger: str
    champion: ChampionReport | None
    gates: tuple[Verdict, ...]

    @model_validator(mode="after")
    def _follows_from_its_rules(self) -> Self:
        if self.verdict != ("pass" if passes(self.gates) else "fail"):
            raise ValueError(f"verdict: is '{self.verdict}', which does not follow from its gates")
        return self


class Reports(MeasuredReports):
    """The files of reports/, by name."""

    gates: GatesReport

    @model_validator(mode="after")
    def _judges_this_bundle(self) -> Self:
        if self.gates.challenger != self.bundle.digest:
            raise ValueError("reports/gates.json judges another bundle than reports/bundle.json describes")
        return self


class Past(_File):
    """What an older commit has left, which may be of another version; None for what is missing or not understood."""

    slices: dict[str, dict[str, Slice]] | None = None
    bundle: BundleReport | None = None

    @classmethod
    def understood(cls, texts: Mapping[str, str | None]) -> Self:
        """Take the files that can be understood, of texts by name."""
        past = cls()
        for name in cls.model_fields:
            try:
                read = cls.model_validate({name: parse_json(texts.get(name) or "null")})
            except (ValueError, RecursionError):
                continue
            past = past.model_copy(update={name: getattr(read, name)})
        return past


def passes(verdicts: Sequence[Verdict]) -> bool:
    """Whether nothing blocks: at least one rule was judged, and no blocking one failed."""
    judged = [verdict for verdict in verdicts if verdict.verdict != "not_applicable"]
    return bool(judged) and not any(verdict.blocking and verdict.verdict == "fail" for verdict in judged)


def read(root: Path, files: Iterable[Path] = FILES) -> dict[str, Any]:
    """Return the content of report files by name; raises UserError for one that is missing or broken."""
    contents = {}
    for path in files:
        try:
            contents[path.stem] = parse_json((root / path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            if path not in LATER:
                raise UserError(f"{path}: is missing; run: dvc repro") from None
        except ValueError as error:
            raise UserError(f"{path}: is not JSON ({error}); run: dvc repro") from None
    return contents
