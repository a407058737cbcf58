"""Parts that tasks of an executor score give the file that one process writes."""

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.serve.batch.test_run import folder, kill_after_five_parts, predict, rows, spoilt, write
from trunkline.conf.engine import Engine
from trunkline.core.errors import UserError
from trunkline.pipeline.features.executors.executor import Executor, connect
from trunkline.serve.batch import job as batch_job
from trunkline.serve.batch import spread
from trunkline.serve.batch.run import Summary

__all__ = ["folder"]  # a fixture of both


@dataclass
class Elsewhere:
    """An executor whose tasks come as bytes, run in another folder, the last first, and each of them twice."""

    home: Path
    returned: list[Any] = field(default_factory=list)

    def run(self, tasks: Sequence[Callable[[], Any]]) -> Iterator[Any]:
        here, sent = Path.cwd(), [pickle.dumps(task) for task in tasks]
        os.chdir(self.home)
        try:
            for _ in range(2):
                self.returned = [pickle.loads(task)() for task in reversed(sent)][::-1]
        finally:
            os.chdir(here)
        return iter(self.returned)


def run(source: Path, output: Path, bundle: Path, executor: Executor) -> Summary:
    job = batch_job.plan(source, output, bundle, batch_job.Options(policy="quarantine"))
    return spread.run(replace(job, part_rows=1000), executor, lambda _: None)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tasks_anywhere_give_the_bytes_of_one_process(tmp_path, folder, suffix, monkeypatch):
    write(spoilt(12_345), tmp_path / "in.parquet")
    monkeypatch.chdir(tmp_path)
    alone = predict(Path("in.parquet"), Path(f"alone.{suffix}"), folder, "quarantine")
    elsewhere = Elsewhere(folder.parent)
    assert run(Path("in.parquet"), Path(f"cut.{suffix}"), folder, elsewhere) == alone
    assert len(elsewhere.returned) == 2  # of thirteen parts
    for name in ("{}", "{}.rejected"):
        cut, whole = (tmp_path / f"{name.format(each)}.{suffix}" for each in ("cut", "alone"))
        assert cut.read_bytes() == whole.read_bytes()
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet", f".{suffix}"}


def test_what_was_finished_is_kept_and_of_the_rest_each_part_is_made(tmp_path, folder):
    source, output = write(rows(12_345), tmp_path / "in.parquet"), tmp_path / "out.parquet"
    predict(source, tmp_path / "whole.parquet", folder)
    kill_after_five_parts(source, output, folder)
    summary = run(source, output, folder, Elsewhere(tmp_path))
    assert (summary.reused, summary.parts) == (5, 13)
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_csv_is_refused_with_a_way_out(tmp_path, folder):
    source = write(rows(10), tmp_path / "in.csv")
    with pytest.raises(UserError, match=r"in\.csv: a CSV is read from its beginning.*engine\.executor: local$"):
        run(source, tmp_path / "out.csv", folder, Elsewhere(tmp_path))


@pytest.mark.filterwarnings("default")  # Ray's own
def test_ray_gives_the_bytes_of_one_process(tmp_path, folder):
    pytest.importorskip("ray", reason="needs the extra `ray`: locks/install dev")
    source = write(spoilt(12_345), tmp_path / "in.parquet")
    alone = predict(source, tmp_path / "alone.parquet", folder, "quarantine")
    with connect(Engine(executor="ray")) as executor:
        assert run(source, tmp_path / "cut.parquet", folder, executor) == alone
    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
