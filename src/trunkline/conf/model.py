"""conf/model: a scikit-learn-compatible estimator with its parameters, and preprocessing by column role."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from trunkline.core.values import Group, Strict

DECLARED = "declared"  # what a search calls conf/model itself


ImportPath = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "title": "class, such as sklearn.linear_model.Ridge", "pattern": r"^\w+(\.\w+)+$"}
    ),
]


class NumericSteps(Strict):
    """What happens to numeric features before the estimator, in this order."""

    impute: Literal["none", "mean", "median", "zero"] = Field("none", description="What fills a missing value.")
    scale: Literal["none", "standard", "min_max"] = Field("none", description="Scaling fitted on the training rows.")


class CategoricalSteps(Strict):
    """What happens to categorical features before the estimator."""

    encode: Literal["onehot", "ordinal", "native"] = Field(
        "onehot", description="native: codes that the estimator is told to treat as categories."
    )
    min_frequency: int | None = Field(None, ge=1, description="Categories with fewer training rows are treated as one.")


class Preprocess(Strict):
    """Preprocessing by column role."""

    numeric: NumericSteps = NumericSteps()
    categorical: CategoricalSteps = CategoricalSteps()


class Model(Group):
    """The estimator: `_target_` names its class, every other key is a parameter of that class."""

    model_config = ConfigDict(extra="allow", populate_by_name=False)
    key: ClassVar[str] = "model"

    target: ImportPath = Field(alias="_target_", description="Import path of the estimator class.")
    preprocess: Preprocess = Preprocess()
    calibrate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Of task quantile: the share of the training rows, the last ones, that are not trained on but say "
        "what the quantiles miss.",
    )

    @property
    def parameters(self) -> dict[str, Any]:
        """The estimator's own parameters, as declared."""
        return dict(self.model_extra or {})
