"""conf/bundle: what the bundle says of itself, and what it does with a row that is not as it should be."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trunkline.core.values import Group, Strict, Tuple

Text = Annotated[str, Field(min_length=10)]


class Card(Strict):
    """What only people know of the model; everything else in its card is measured."""

    intended_use: Text = Field(description="What the model is for, and for whom.")
    limits: Annotated[tuple[Text, ...], Tuple] = Field((), description="What it must not be used for, or does badly.")


class Packaging(Group):
    """What the bundle holds besides the model."""

    key: ClassVar[str] = "bundle"

    on_bad_row: Literal["stop", "quarantine"] = Field(
        "stop", description="stop a batch at the first row against the contract, or set such rows aside."
    )
    tolerance: float = Field(
        1e-9, ge=0, le=1e-3, description="Largest difference of a score from the evaluated pipeline's."
    )
    golden_rows: int = Field(20, ge=1, le=1000, description="Rows with expected scores that the bundle carries.")
    card: Card
