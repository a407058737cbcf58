"""What AWS Lambda imports, as trunkline.serve.aws_lambda.handler: the model is loaded while no request waits."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.serve.function import Function, of_event

_FUNCTION = Function.of(Path(os.environ["LAMBDA_TASK_ROOT"]))  # where Lambda unpacks the archive


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Answer a request."""
    return of_event(_FUNCTION, event)
