"""How a graph in ONNX is run: its inputs, what stands for a missing text, and a session that reaches nothing else."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

NUMERIC, CATEGORICAL = "numeric", "categorical"  # a graph's inputs; its output is tasks.SCORE
MISSING = "\ue000"  # a missing category in the graph's text input; private use, so that no real text has it

_NO_FOLDER = str(Path(os.devnull, "none"))  # where the graph may look for tensors in other files: it cannot exist


def session(graph: bytes, threads: int = 1) -> "InferenceSession":
    """Build a graph of onnxruntime's own operators, with no way to a file; raises its errors if it is broken."""
    import onnxruntime  # noqa: PLC0415  who only checks a bundle or its contract needs none

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    for key in ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning"):
        options.add_session_config_entry(key, "0")  # a waiting thread would take the CPU from another's work
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NO_FOLDER)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def even(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return rows, with the last one twice if their number is odd."""
    return np.concatenate([rows, rows[-1:]]) if len(rows) % 2 else rows
