"""conf/deploy, previews: of which requests a pull request shows what its model would have answered."""

from pydantic import Field

from trunkline.core.values import Columns, Strict


class Previews(Strict):
    """What an environment was asked lately, answered again by the model of a pull request (docs/rollout.md)."""

    hours: int = Field(6, ge=1, le=720, description="How far back the log of predictions is read.")
    requests: int = Field(2000, ge=20, le=100_000, description="How many rows at most, the newest.")
    threshold: float = Field(
        0.5,
        allow_inf_nan=False,
        description="Score above which the decision is yes; of several classes, it is the likeliest one instead.",
    )
    slices: Columns = Field(
        (), description="Columns of a request whose values are listed, those that move most first, such as origin."
    )
