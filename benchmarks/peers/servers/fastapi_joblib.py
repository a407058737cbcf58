"""FastAPI with the fitted scikit-learn pipeline, as tutorials serve one."""

import sys
from typing import Any

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI

model = joblib.load(sys.argv[2])
app = FastAPI()


@app.post("/predict")
async def predict(row: dict[str, Any]) -> dict[str, float]:
    """Return the probability of the positive class."""
    return {"score": float(model.predict_proba(pd.DataFrame([row]))[0, 1])}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False)
