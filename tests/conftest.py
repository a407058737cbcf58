"""What all tests share: a deterministic hypothesis and the project's own configuration."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# Tests run side by side: threads that spin while they wait would starve each other. Before scikit-learn is loaded.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# The hundreds of processes that tests start would each compile src/ again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile("trunkline", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("trunkline")


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def mlflow_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server, which the tests of a worker share: no two files use a name of a model."""
    from tests.servers import mlflow_server

    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(autouse=True)
def _where_it_began() -> Iterator[None]:
    """Refuse a test that leaves the working directory of those after it elsewhere, or one that is no more."""
    before = Path.cwd()
    yield
    after = Path.cwd()
    os.chdir(before)
    assert after == before, f"the test left its process in {after}; change the folder with monkeypatch or contextlib"


@pytest.fixture(autouse=True)
def _environment_of_commands() -> Iterator[None]:
    """Put back what a command starts with: a verb or a library in a test may set it, for its own process alone."""
    before = _started_with()
    yield
    for name in _started_with().keys() - before:
        del os.environ[name]
    os.environ.update(before)


def _started_with() -> dict[str, str]:
    from tests.forkserver import STARTUP  # not at the top: it loads what reads the variable above

    return {name: value for name, value in os.environ.items() if name.startswith(STARTUP)}


@pytest.fixture(autouse=True)
def _outside_of_dvc(_where_it_began: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("DVC_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
