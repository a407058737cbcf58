"""What the stages leave in reports/, read into typed structures; whatever is missing or odd is refused here."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.params.evaluation import WHOLE

EVALUATED = (paths.METRICS, paths.SLICES, paths.DATASET, paths.VALIDATION)
FILES = (*EVALUATED, paths.BUNDLE_REPORT)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)


class Estimate(_File):
    """A metric's value and its interval; None where it is not defined."""

    value: float | None
    interval: tuple[float, float] | None


class Slice(_File):
    """Rows of one value of a slice; without metrics when there are too few rows to measure."""

    n: int
    metrics: dict[str, Estimate]


class Window(_File):
    """Rows of a window: those used, and those left out for want of a label, or of one in time."""

    rows: int
    unlabelled: int
    label_not_yet_known: int
    base_rate: float | None


class Windows(_File):
    """The two windows."""

    train: Window
    holdout: Window


class Dataset(_File):
    """Rows and features that the features stage made."""

    source_rows: int
    unlabelled: int
    windows: Windows
    features: dict[str, int]


class Checked(_File):
    """What became of the rows of a source table, and how many broke which rule."""

    rows: int
    quarantined: int
    checks: dict[str, int]


class Evaluated(_File):
    """The files of reports/, by name, up to and with those of the evaluation."""

    slices: dict[str, dict[str, Slice]]
    dataset: Dataset
    validation: dict[str, Checked]

    @field_validator("slices")
    @classmethod
    def _holds_the_whole(cls, slices: dict[str, dict[str, Slice]]) -> dict[str, dict[str, Slice]]:
        if WHOLE not in slices.get(WHOLE, {}):
            raise ValueError(f"the whole holdout is missing ({WHOLE}.{WHOLE})")
        return slices

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Check content as `read` returns it; raises UserError naming the file and the first wrong key."""
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            file, *keys = map(str, first["loc"])
            where = ": ".join([f"reports/{file}.json", *filter(None, [".".join(keys)])])
            raise UserError(f"{where}: {first['msg']}; run: dvc repro") from None


class Parity(_File):
    """How the bundle's scores compare with those of the evaluated pipeline, over `rows` rows.

    `adversarial` of them were made to find differences; `flips` have another predicted label.
    """

    rows: int
    adversarial: int
    difference_below: float
    flips: int


class Bundle(_File):
    """The bundle; runtime sklearn has a reason why, and parity is None where no graph could be compared."""

    digest: str
    runtime: Literal["onnx", "sklearn"]
    reason: str | None
    parity: Parity | None
    bytes: int


class Reports(Evaluated):
    """The files of reports/, by name."""

    bundle: Bundle


def read(root: Path, files: Iterable[Path] = FILES) -> dict[str, Any]:
    """Return the content of report files by name; raises UserError for one that is missing or broken."""
    found = {}
    for path in files:
        try:
            found[path.stem] = json.loads((root / path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: is missing; run: dvc repro") from None
        except ValueError as error:
            raise UserError(f"{path}: is not JSON ({error}); run: dvc repro") from None
    return found
