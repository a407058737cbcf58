"""The model that is trained: the declared one, or what a search found to be better."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from trunkline.conf.model import Model
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json


class Choice(BaseModel):
    """What a search came to; without trials there was none, and `model` is None where the declared one is the best.

    `value` and `declared` are the metric's mean over the folds, of the chosen and of the declared model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: dict[str, Any] | None = None
    metric: str | None = None
    family: str | None = None
    value: float | None = None
    declared: float | None = None
    folds: int = 0
    trials: int = 0
    pruned: int = 0
    failed: int = 0
    stopped: str | None = None  # by what: trials, patience or minutes

    @classmethod
    def read(cls, root: Path = Path()) -> "Choice":
        """Read what the search stage wrote; a project without that stage chooses nothing."""
        path = root / paths.CHOICE
        try:
            return cls.model_validate(parse_json(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except (ValidationError, ValueError) as error:
            raise UserError(f"{path}: is not what the search stage writes; run: dvc repro") from error


def trained(declared: Model, root: Path = Path()) -> Model:
    """Return the declared model, unless a search chose another; raises UserError for a choice that is no model."""
    choice = Choice.read(root)
    if choice.model is None:
        return declared
    try:
        return Model.parse(choice.model)
    except ValidationError as error:
        raise UserError(f"{root / paths.CHOICE}: model: {error.errors()[0]['msg']}; run: dvc repro") from None
