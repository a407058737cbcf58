"""MLflow's store: not there yet, there, and one that does not answer; `adapters/test_mlflow` asks a real store."""

import socket
import sqlite3
from contextlib import closing

import pytest

from tests.doctor.conftest import found
from trunkline.doctor import mlflow

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning"
)


def test_a_store_that_is_not_there_yet_works_and_is_not_made(project):
    assert found(mlflow.check, project)["MLflow"].detail == "the first run makes sqlite:///mlflow.db"
    assert list(project.root.glob("mlflow*")) == []


def test_a_store_with_mlflows_tables_answers(project):
    with closing(sqlite3.connect(project.root / "mlflow.db")) as database:
        database.execute("CREATE TABLE experiments (name)")
    assert found(mlflow.check, project)["MLflow"].detail == "sqlite:///mlflow.db answers"


def test_a_file_that_is_no_database_fails(project):
    project.write("mlflow.db", "nothing of the kind" * 99)
    finding = found(mlflow.check, project)["MLflow"]
    assert (finding.state, "the file is damaged" in finding.advice) == ("fails", True)


def test_a_server_that_does_not_answer_fails_at_once_and_shows_no_password(project):
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"http://ada:secret@127.0.0.1:{unheard.getsockname()[1]}"
        finding = found(mlflow.check, project, {"MLFLOW_TRACKING_URI": address})["MLflow"]
    assert (finding.state, "secret" in str(finding)) == ("fails", False)
    assert "MLFLOW_TRACKING_URI" in finding.advice
