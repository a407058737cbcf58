"""conf/model: a scikit-learn-compatible estimator with its parameters, and preprocessing by column role."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, WithJsonSchema, model_validator

from trunkline.core.values import Column, Columns, Duration, Group, Name, Strict, Word

DECLARED = "declared"  # what a search calls conf/model itself


ImportPath = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "title": "class, such as sklearn.linear_model.Ridge", "pattern": r"^\w+(\.\w+)+$"}
    ),
]


class Spline(Strict):
    """What makes a number columns, each a piece of a smooth curve, so that a linear model may bend.

    A number beyond those of the training rows counts as the nearest of them.
    """

    knots: int = Field(5, ge=2, le=100, description="How many points the pieces meet at, with both ends.")
    degree: int = Field(3, ge=1, le=5, description="Of the pieces: 1 for lines, 3 for cubic splines.")
    at: Literal["quantile", "uniform"] = Field(
        "quantile", description="Where the knots are: with as many training rows between each two, or evenly apart."
    )


class Components(Strict):
    """Principal components (PCA) in place of the numbers."""

    components: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = Field(
        description="How many, or the share of the training rows' variance that they explain."
    )


class NumericSteps(Strict):
    """What happens to numeric features before the estimator, in this order."""

    impute: Literal["none", "mean", "median", "zero"] = Field("none", description="What fills a missing value.")
    scale: Literal["none", "standard", "min_max", "robust", "quantile"] = Field(
        "none",
        description="Scaling fitted on the training rows; robust: by median and quartiles; quantile: the share of rows "
        "below, by 100 quantiles.",
    )
    interactions: Literal["pairs"] | None = Field(
        None, description="pairs: the product of each two numbers beside them, by scikit-learn's PolynomialFeatures."
    )
    spline: Spline | None = Field(None, description="Splines of each number, by scikit-learn's SplineTransformer.")
    pca: Components | None = Field(None, description="Principal components of all numbers, by scikit-learn's PCA.")


class CategoricalSteps(Strict):
    """What happens to categorical features before the estimator."""

    encode: Literal["onehot", "ordinal", "native", "target"] = Field(
        "onehot",
        description="native: codes that the estimator is told to treat as categories; target: the mean label of a "
        "category, smoothed, of a training row without the rows of its fold.",
    )
    min_frequency: int | None = Field(None, ge=1, description="Categories with fewer training rows are treated as one.")


class TextSteps(Strict):
    """Features that are texts, of which each word is a column; a missing text has no words."""

    features: Columns = Field(min_length=1, description="Which of the categorical features are texts.")
    vectorize: Literal["tfidf", "hashing"] = Field(
        "tfidf",
        description="tfidf: how often a word is in a text, and in how few; hashing: each word has a column by its "
        "hash, which may be another's too, and none is learnt.",
    )
    columns: int = Field(
        1000,
        ge=1,
        le=1 << 20,
        description="Columns of each text: of tfidf at most, its commonest words; of hashing all.",
    )
    words: int = Field(1, ge=1, le=3, description="Up to how many words in a row are counted as one as well.")


class Best(Strict):
    """The columns that score highest beside the label, each by itself; as many, or such a share, but not both."""

    score: Literal["f_classif", "mutual_info_classif", "chi2", "f_regression", "mutual_info_regression"] = Field(
        description="How a column is scored, by scikit-learn's function of that name."
    )
    k: int | None = Field(None, ge=1, description="How many columns, by scikit-learn's SelectKBest.")
    percentile: float | None = Field(
        None, gt=0, le=100, description="Which percentage of the columns, by scikit-learn's SelectPercentile."
    )

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.k is None) == (self.percentile is None):
            raise ValueError("declare either k or percentile")
        return self


class FromModel(Strict):
    """The columns that another estimator gives the most weight, which is fitted to them first: SelectFromModel."""

    estimator: dict[str, Any] = Field(
        description="`_target_` names its class, every other key is a parameter: a linear model, tree or forest of "
        "scikit-learn."
    )
    threshold: Annotated[float, Field(ge=0)] | Literal["mean", "median"] = Field(
        "mean", description="The least weight of a column that is kept: a number, or that of the columns' weights."
    )


class Selection(Strict):
    """Which of the columns that all other steps make the estimator sees: chosen on the training rows, in this order."""

    variance: float | None = Field(
        None, ge=0, description="A column is left out whose variance is not above it; 0 leaves out constants."
    )
    best: Best | None = Field(None, description="The columns that score highest, each by itself.")
    from_model: FromModel | None = Field(None, description="The columns to which an estimator gives the most weight.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.variance is None and self.best is None and self.from_model is None:
            raise ValueError("declare variance, best or from_model, or remove it")
        return self


class Preprocess(Strict):
    """Preprocessing by column role."""

    numeric: NumericSteps = NumericSteps()
    categorical: CategoricalSteps = CategoricalSteps()
    text: TextSteps | None = Field(None, description="Words of texts, by scikit-learn's vectorizers.")
    select: Selection | None = Field(None, description="Which of all these columns the estimator sees.")

    @property
    def reshaping(self) -> str | None:
        """The first step of which other columns than the features come; None if there is none."""
        steps = {f"numeric.{name}": getattr(self.numeric, name) for name in ("interactions", "spline", "pca")}
        steps |= {"text": self.text, "select": self.select}
        return next((name for name, step in steps.items() if step is not None), None)


class Weight(Strict):
    """How much each training row counts when the estimator is fitted; the product, if both are declared.

    It is never a feature, and metrics count every row as one.
    """

    column: Column | None = Field(
        None, description="Column of the request with a number of at least 0, such as one of data.derive."
    )
    half_life: Duration | None = Field(
        None, gt=timedelta(0), description="A row that is so much older than the latest one counts half as much."
    )


class Site(Strict):
    """A released version of the same model by somebody else, on rows of their own: a part of a joint model."""

    repository: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^-\s]\S*$")] = Field(
        description="What git clones it from: an address, or a folder."
    )
    version: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,59}@v[1-9]\d{0,8}$")] = Field(
        description="The tag of its version, such as flight-delay@v3."
    )
    signers: dict[Name, dict[str, str]] = Field(
        min_length=1, description="Who may have signed it, declared as in conf/deploy."
    )
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Of its bundle; `trunkline federate` writes it."
    )
    rows: int | None = Field(
        None, ge=1, description="How many it was trained on, by which it weighs; `trunkline federate` writes it."
    )


class Member(Strict):
    """A site of a sum: it publishes a masked share of it, and no model."""

    key: Annotated[str, StringConstraints(max_length=200, pattern=r"^-----BEGIN PUBLIC KEY-----\n")] = Field(
        description="The public half, in PEM, of its X25519 key, TRUNKLINE_MASKING_KEY there."
    )
    signers: dict[Name, dict[str, str]] = Field(
        min_length=1, description="Who may sign its share, declared as in conf/deploy."
    )


class Summed(Strict):
    """The mean of linear models by others, of which only the sum becomes known: none of theirs alone.

    It needs three members at least: of two, each would know the other's model.
    """

    round: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")] = Field(
        description="Its folder in models/rounds; another name for each time that models are summed."
    )
    bits: int = Field(32, ge=8, le=48, description="Binary places that rows times a coefficient are rounded to.")
    members: dict[Word, Member] = Field(min_length=3, description="Its sites, by name.")
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Of its shares and their mean; `trunkline federate` writes it."
    )
    rows: int | None = Field(
        None, ge=1, description="How many the members have together; `trunkline federate` writes it."
    )


def _kind(content: Any) -> str:
    return "summed" if isinstance(content, Summed) or (isinstance(content, dict) and "round" in content) else "released"


AnySite = Annotated[Annotated[Site, Tag("released")] | Annotated[Summed, Tag("summed")], Discriminator(_kind)]


class StopEarly(Strict):
    """How many rounds of boosting there are: as many as the latest training rows say, of the earlier ones' model.

    Then all training rows are learnt from with that number. No row of the holdout is looked at.
    """

    last: Duration = Field(gt=timedelta(0), description="Time at the end of the training rows whose rows judge.")
    rounds: int = Field(20, ge=1, description="Rounds without a better one after which no more are tried.")


class Model(Group):
    """The estimator: `_target_` names its class, every other key is a parameter of that class."""

    model_config = ConfigDict(extra="allow", populate_by_name=False)
    key: ClassVar[str] = "model"

    target: ImportPath = Field(alias="_target_", description="Import path of the estimator class.")
    preprocess: Preprocess = Preprocess()
    weight: Weight = Weight()
    stop_early: StopEarly | None = Field(
        None, description="Chooses the rounds of LightGBM, XGBoost or CatBoost on later rows, not on random ones."
    )
    calibrate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Of task quantile: the share of the training rows, the last ones, that are not trained on but say "
        "what the quantiles miss.",
    )

    sites: dict[Word, AnySite] = Field(
        default_factory=dict,
        description="Of `trunkline.JointClassifier` and `trunkline.JointRegressor`: whose models they are the mean of.",
    )

    @property
    def parameters(self) -> dict[str, Any]:
        """The estimator's own parameters, as declared."""
        return dict(self.model_extra or {})
