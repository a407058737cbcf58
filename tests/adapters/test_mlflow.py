"""What is said when MLflow cannot be used: what to do about it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trunkline.adapters.mlflow import MlflowStore
from trunkline.core.errors import OutsideError

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning"
)


def use(address: str, home: Path) -> None:
    with MlflowStore(address, home).client("then run it again") as client:
        client.search_experiments()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A SQLite file of MLflow's."""
    folder = tmp_path_factory.mktemp("mlflow")
    use("sqlite:///mlflow.db", folder)
    return (folder / "mlflow.db").read_bytes()


@pytest.mark.parametrize("kept", [0.3, 0.0])
def test_a_damaged_file_is_to_be_moved_away(whole: bytes, tmp_path: Path, kept: float) -> None:
    (tmp_path / "mlflow.db").write_bytes(whole[: int(len(whole) * kept)] or b"nothing of the kind" * 99)
    with pytest.raises(OutsideError, match=r"the file is damaged: .*move it away.*run it again$"):
        use("sqlite:///mlflow.db", tmp_path)


def test_whether_there_is_a_store_is_asked_without_making_or_changing_one(whole: bytes, tmp_path: Path) -> None:
    file, store = tmp_path / "mlflow.db", MlflowStore("sqlite:///mlflow.db", tmp_path)
    assert not store.exists("")
    assert list(tmp_path.iterdir()) == []
    file.touch()
    assert not store.exists("")
    file.write_bytes(whole)
    file.chmod(0o400)
    assert store.exists("")
    assert [(path, path.read_bytes()) for path in tmp_path.iterdir()] == [(file, whole)]


@pytest.fixture
def refusing(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that gives one answer to whatever it is asked."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(request.param)

        do_POST = do_GET  # noqa: N815  as the library calls it

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("refusing", [401, 403], indirect=True)
def test_who_is_not_known_to_a_server_is_told_which_variables_name_a_user(refusing: str, tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TR"):
        use(refusing, tmp_path)


@pytest.mark.parametrize("refusing", [404], indirect=True)
def test_a_server_that_is_not_mlflow_is_another_address(refusing: str, tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="start it or correct the address"):
        use(refusing, tmp_path)
