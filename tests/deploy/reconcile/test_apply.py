"""How long MLflow is waited for."""

import pytest

from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy.reconcile import apply
from trunkline.deploy.reconcile.apply import patiently


def failing(times, error=OutsideError):
    """A call that fails so often before it answers."""
    left = [error(f"failure {number}") for number in range(times)]

    def call():
        if left:
            raise left.pop(0)
        return "answer"

    return call


def test_mlflow_is_asked_again_and_later_each_time():
    pauses = []
    assert patiently(failing(3), pauses.append) == "answer"
    assert pauses == [0.5, 1.0, 2.0]
    with pytest.raises(OutsideError, match="failure 3"):
        patiently(failing(4), pauses.append)


def test_mlflow_is_not_asked_again_when_it_takes_too_long_or_refuses(monkeypatch):
    with pytest.raises(UserError, match="failure 0"):
        patiently(failing(1, UserError), pytest.fail)
    monkeypatch.setattr(apply, "_PATIENCE", 0.0)
    with pytest.raises(OutsideError, match="failure 0"):
        patiently(failing(1), pytest.fail)
