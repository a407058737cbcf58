"""FastAPI with the bundle's graph in onnxruntime, behind a model of pydantic that checks what the contract says."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, create_model

MISSING = "\ue000"  # a text that is missing, to the graph
TYPES = {"number": float, "integer": int, "boolean": bool, "text": str}
bundle = Path(sys.argv[2])
inputs = json.loads((bundle / "contract.json").read_text())["inputs"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])
numeric = [each["name"] for each in inputs if each["role"] == "numeric"]
categorical = [each["name"] for each in inputs if each["role"] == "categorical"]


def field(declared: dict[str, Any]) -> tuple[Any, Any]:
    """Return an input's type with its limits, and its default."""
    pattern = declared["pattern"] and f"^(?:{declared['pattern']})$"
    limits = Field(ge=declared["min"], le=declared["max"], pattern=pattern)
    allowed = declared["allowed"]
    kind: Any = Annotated[Literal[tuple(allowed)] if allowed else TYPES[declared["type"]], limits]
    return (kind | None, None) if declared["nullable"] else (kind, ...)


Row: type[BaseModel] = create_model(
    "Row", __config__=ConfigDict(strict=True, extra="forbid"), **{each["name"]: field(each) for each in inputs}
)
app = FastAPI()


@app.post("/predict")
async def predict(row: Row) -> dict[str, float]:  # type: ignore[valid-type]
    """Return the probability of the positive class."""
    numbers = [np.nan if (value := getattr(row, name)) is None else value for name in numeric]
    texts = [MISSING if (value := getattr(row, name)) is None else value for name in categorical]
    # Twice: of an odd number of rows, onnxruntime gives the last one other bits.
    feed = {"numeric": np.array([numbers] * 2, np.float64), "categorical": np.array([texts] * 2, object)}
    return {"score": float(session.run(["score"], feed)[0][0])}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False)
