"""conf/tracking: where finished runs are logged."""

from typing import ClassVar

from pydantic import Field

from trunkline.params.base import Group


class Tracking(Group):
    """MLflow; the environment's MLFLOW_TRACKING_URI comes before the declared address."""

    key: ClassVar[str] = "tracking"

    uri: str = Field("sqlite:///mlflow.db", description="MLflow tracking address, without credentials.")
    experiment: str = Field(description="MLflow experiment that runs belong to.", min_length=1)
