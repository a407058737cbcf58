"""Spark with two real executors, one of which is killed while it computes: the bytes are those of one process."""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests import spark
from tests.pipeline.features.executors.losing import assert_same_bytes, process, refuse
from trunkline.conf.engine import Engine
from trunkline.core.errors import OutsideError, UserError
from trunkline.pipeline.features.executors.executor import connect

spark.needed()
pytestmark = pytest.mark.filterwarnings("default")  # Spark's own


@pytest.fixture
def two_executors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """What Spark's own files say is two workers, as processes of the one that drives them."""
    import pyspark

    (tmp_path / "spark-defaults.conf").write_text("spark.master local-cluster[2,1,1024]\n", encoding="utf-8")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    yield Engine(executor="spark", memory="200MB")
    spark.end_machine()
    shutil.rmtree(Path(pyspark.__file__).with_name("work"), ignore_errors=True)


def kill(began: Path) -> None:
    """Kill the executor whose Python began a task, with all its processes."""
    executor = next(each for each in psutil.Process(process(began)).parents() if each.name() == "java")
    for each in [executor, *executor.children(recursive=True)]:
        each.kill()


def test_java_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(OutsideError, match=r"^engine\.address: no Spark at this machine .*install Java 17$"):
        connect(Engine(executor="spark")).__enter__()


def test_an_address_where_no_spark_is_is_named() -> None:
    with pytest.raises(OutsideError, match=r"^engine\.address: no Spark at 127\.0\.0\.1:1 "):
        connect(Engine(executor="spark", address="127.0.0.1:1")).__enter__()


def test_an_executor_that_is_killed_changes_no_byte(tmp_path: Path, two_executors: Engine) -> None:
    with connect(two_executors) as executor:
        assert_same_bytes(executor, kill, tmp_path)
        with pytest.raises(UserError, match=r"^a mistake of the user$"):
            list(executor.run([partial(refuse, "a mistake of the user")]))
        with pytest.raises(OutsideError, match=r"^engine: Spark at this machine lost a task 4 times .*engine\.memory$"):
            list(executor.run([partial(os._exit, 3)]))
