"""conf/review: what the comment on a pull request may cost."""

from typing import ClassVar

from pydantic import Field

from trunkline.core.values import Duration, Group


class Review(Group):
    """What a reviewer is shown; no stage reads it, so that a change reruns nothing."""

    key: ClassVar[str] = "review"

    attribution: Duration = Field(
        description="Time that `trunkline review --attribute` may take to tell several changes apart; 0s: none.",
    )
