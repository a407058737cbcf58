"""A real Spark on this machine; where PySpark is installed, Java that is missing is an error and no reason to skip."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def needed() -> None:
    """Skip a module where the extra is not installed; fail it where Java is not."""
    pytest.importorskip(
        "pyspark", reason="needs the extra `spark`, which is in no lock of this environment: make test-spark"
    )
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.fail("Spark needs Java 17 or later; on Debian: apt-get install default-jre-headless", pytrace=False)


def end_machine() -> None:
    """End the Java of this process, so that the next session is given its own environment."""
    import pyspark

    gateway = pyspark.SparkContext._gateway
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
    pyspark.SparkContext._gateway = pyspark.SparkContext._jvm = None


@contextmanager
def session(**settings: str) -> Iterator[Any]:
    """Open a session of two threads whose zone is neither UTC nor the project's: no result may depend on it."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]")
    defaults = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "Asia/Tokyo",
    }
    for name, value in (defaults | settings).items():
        builder = builder.config(name, value)
    opened = builder.getOrCreate()
    opened.sparkContext.setLogLevel("ERROR")
    try:
        yield opened
    finally:
        opened.stop()
        end_machine()
