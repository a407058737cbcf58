"""Scores rows with clients of others; run by the Python of their environment, and prints each client's scores.

Arguments: triton or kserve, whose messages of the protocol cannot be in one process; the server's host and port over
HTTP, and those of gRPC; and the model's name. Stdin: columns as JSON.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np

MISSING = "\ue000"  # a text that is missing, where there is no null


def arrays(columns: dict[str, list[Any]]) -> dict[str, np.ndarray]:
    """Return each column as numbers, with NaN for what is missing, or as bytes."""
    made = {}
    for name, values in columns.items():
        if any(isinstance(value, str) for value in values):
            texts = [(MISSING if value is None else value).encode() for value in values]
            made[name] = np.array(texts, object)
        else:
            made[name] = np.array([np.nan if value is None else value for value in values], np.float64)
    return made


def triton(http: str, grpc: str, model: str, columns: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Return the scores by Triton's clients, over HTTP with raw tensors and with JSON, and over gRPC."""
    import tritonclient.grpc
    import tritonclient.http

    def scores(library: Any, address: str, columns: dict[str, np.ndarray], **options: Any) -> list[float]:
        inputs = []
        for name, values in columns.items():
            inputs.append(library.InferInput(name, [len(values)], datatype(values)))
            inputs[-1].set_data_from_numpy(values, **options)
        client = library.InferenceServerClient(address)
        assert client.is_server_live()
        assert client.is_model_ready(model)
        assert client.get_model_metadata(model)
        return client.infer(model, inputs).as_numpy("score").tolist()

    first = {name: values[:1] for name, values in columns.items()}  # of what is missing, it would write NaN, not JSON
    return {
        "HTTP, raw": scores(tritonclient.http, http, columns),
        "HTTP, JSON, first row": scores(tritonclient.http, http, first, binary_data=False),
        "gRPC": scores(tritonclient.grpc, grpc, columns),
    }


def kserve(http: str, grpc: str, model: str, columns: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Return the scores by KServe's clients, over REST and over gRPC."""
    import kserve

    def request() -> Any:
        inputs = []
        for name, values in columns.items():
            inputs.append(kserve.InferInput(name, [len(values)], datatype(values)))
            inputs[-1].set_data_from_numpy(values)
        return kserve.InferRequest(model, inputs)

    async def answers() -> dict[str, Any]:
        rest = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        assert await rest.is_server_ready(f"http://{http}")
        over_grpc = kserve.InferenceGRPCClient(grpc)
        assert await over_grpc.is_server_live()
        return {
            "REST": await rest.infer(f"http://{http}", request(), model),
            "gRPC": await over_grpc.infer(request()),
        }

    return {name: answer.outputs[0].as_numpy().tolist() for name, answer in asyncio.run(answers()).items()}


def datatype(values: np.ndarray) -> str:
    """Return what the protocol calls an array's type."""
    return "FP64" if values.dtype == np.float64 else "BYTES"


def main() -> None:
    """Print the scores of each client as JSON."""
    library, http, grpc, model = sys.argv[1:]
    scores = {"triton": triton, "kserve": kserve}[library](http, grpc, model, arrays(json.load(sys.stdin)))
    sys.stdout.write(json.dumps(scores) + "\n")


if __name__ == "__main__":
    main()
