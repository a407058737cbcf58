"""`trunkline init` from a table to a judged model, as real processes, with no edit in between."""

import json
import os
from contextlib import closing

import numpy as np
import pytest
import sqlalchemy

from tests.e2e.conftest import Checkout
from tests.init import tables
from tests.servers import postgres

pytestmark = [pytest.mark.e2e]

SHORT = ("penguins",)
LONG = ("regression",)  # what is guessed of the other tables is tested in tests/init


def blocking(project: Checkout) -> set[str]:
    """Return the rules that block what init has made; everything in it must agree."""
    assert "nothing to run" in project.run("trunkline", "plan").splitlines()[-1]
    project.run("trunkline", "compose", "--check")
    project.run("trunkline", "verify", "models/bundle")
    gates = json.loads(project.read("reports/gates.json"))["gates"]
    return {verdict["id"] for verdict in gates if verdict["verdict"] == "fail" and verdict["blocking"]}


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_a_table_becomes_a_judged_model(name, tmp_path):
    table, project = tables.write(name, tmp_path), Checkout(tmp_path / "project")
    project.root.mkdir()
    said = project.run("trunkline", "init", str(table), "--target", tables.EXAMPLES[name].target, "--yes")
    assert blocking(project) <= {"no_leak"}
    assert f"conf/data/{name}.yaml:" in said.partition("Guessed, and where to change it:")[2]
    assert "rules:\n  # set from the first run.\n  useful:" in project.read(f"conf/gates/{name}.yaml")
    again = project.run("trunkline", "init", str(table), "--target", tables.EXAMPLES[name].target, "--yes", check=False)
    assert "is there already, and nothing is overwritten" in again


def test_repro_notices_a_source_that_is_not_what_was_pinned_and_a_clone_needs_none(tmp_path):
    table, project = tables.write("penguins", tmp_path), Checkout(tmp_path / "project")
    project.root.mkdir()
    project.run("trunkline", "init", str(table), "--target", "species", "--yes", "--no-run")
    project.run("dvc", "repro", "ingest")
    source = project.root / "data/in/penguins.csv"
    before = source.read_bytes()
    source.write_bytes(before + b"Adelie,Biscoe,40.0,190.0,4000,male,2007\n")
    said = project.run("dvc", "repro", "ingest", check=False)
    assert "data/in/penguins.csv: is not what data.sources.penguins.files has pinned" in said
    source.unlink()
    assert "data/in/penguins.csv: there is no such file" in project.run("dvc", "repro", "ingest", check=False)
    source.write_bytes(before)
    project.run("dvc", "repro", "ingest")  # records the source as it was
    project.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    project.commit("The project")
    clone = Checkout(tmp_path / "clone")
    project.run("git", "clone", "--quiet", ".", str(clone.root))
    planned = clone.run("trunkline", "plan", "--json", env={"PYTHONWARNINGS": "ignore"})  # those of DVC's packages
    steps = {step["name"]: step["action"] for step in json.loads(planned)["stages"]}
    assert not (clone.root / "data/in").exists()
    assert steps["ingest"] == "unchanged"
    clone.edit("conf/data/penguins.yaml", "sources:", "timezone: UTC\nsources:")
    clone.edit("locks/trunkline.txt", "==", "===")
    assert "; to pull: 1 files, " in clone.run("trunkline", "plan")  # data/in


@pytest.mark.long
def test_what_blocks_a_first_model_passes_once_a_person_has_given_the_reason(tmp_path):
    table, project = tables.write("flights", tmp_path), Checkout(tmp_path / "project")
    project.root.mkdir()
    project.run("trunkline", "init", str(table), "--target", tables.EXAMPLES["flights"].target, "--yes")
    assert blocking(project) == {"no_leak"}
    reason = '    explained: {unique_carrier: "the carrier is booked"}\n'
    project.edit("conf/gates/flights.yaml", "    kind: leak\n", f"    kind: leak\n{reason}")
    project.run("dvc", "repro")
    assert blocking(project) == set()


@pytest.mark.long
def test_a_table_in_postgresql_becomes_a_judged_model(tmp_path):
    project = Checkout(tmp_path / "project")
    project.root.mkdir()
    frame = tables.EXAMPLES["wages"].make(np.random.default_rng(20130701))
    with postgres() as address:
        engine = sqlalchemy.create_engine(address)
        with closing(engine.raw_connection()) as connection:
            names = ", ".join(f'"{name}" text' for name in frame.columns)
            cursor = connection.cursor()
            cursor.execute(f"create table wages ({names})")
            marks = ", ".join(["%s"] * frame.width)
            cursor.executemany(
                f"insert into wages values ({marks})", [tuple(map(str, row)) for row in frame.iter_rows()]
            )
            connection.commit()
        engine.dispose()
        environ = {**os.environ, "WAGES": address}
        command = ("trunkline", "init", "$WAGES#wages", "--target", "Hourly Wage ($)", "--yes")
        project.run(*command, env=environ)
        assert blocking(project) == set()
    assert address not in project.read("conf/data/wages.yaml")
    assert "psycopg==" in project.read("locks/pipeline.txt")
