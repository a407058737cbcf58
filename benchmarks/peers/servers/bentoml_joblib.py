"""BentoML with the fitted scikit-learn pipeline, as its documentation serves one."""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Scores:
    """A service of one worker."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api
    async def predict(self, row: dict[str, Any]) -> float:
        """Return the probability of the positive class."""
        return float(self.model.predict_proba(pd.DataFrame([row]))[0, 1])
