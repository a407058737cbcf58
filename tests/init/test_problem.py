"""What is guessed of tables that people bring, and that it always composes."""

import itertools
import json
import keyword
import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.init import tables
from trunkline.core.errors import UserError
from trunkline.init import (
    conf_text,
    first_run,
    gates_text,
    guesses,
    loading,
    places,
    problem,
    profile,
    project_files,
    write,
)
from trunkline.init.problem import Answers, Problem
from trunkline.init.sources import Named
from trunkline.pipeline.reports import Reports


def guessed(path: Path, answers: Answers) -> Problem:
    return problem.problem([loading.load(str(path), path.parent / "project")], answers)


@pytest.fixture(scope="module", params=tables.EXAMPLES)
def example(request, tmp_path_factory):
    """Every table with what was guessed of it."""
    path = tables.write(request.param, tmp_path_factory.mktemp("tables"))
    return tables.EXAMPLES[request.param], guessed(path, Answers(tables.EXAMPLES[request.param].target))


def test_every_table_gives_a_project_without_a_mistake(example):
    declared, whole = example
    texts = project_files.texts(whole, "github", {})
    write.check(texts)
    assert whole.target.task == declared.task
    assert (whole.timing.window is not None) == declared.timed


def test_every_guess_has_a_line_in_a_file_that_is_written(example):
    _, whole = example
    texts = project_files.texts(whole, "none", {})
    for guess in guesses.guesses(whole):
        file, _, line = places.place(whole, guess, texts).rpartition(":")
        assert 0 < int(line) <= len(texts[Path(file)].splitlines())


def roles(whole: Problem) -> dict[str, str]:
    return {name: role.role for name, role in whole.roles.items()}


def test_outcomes_identifiers_and_dates_of_flights_and_inspections_are_told(tmp_path):
    flights = guessed(tables.write("flights", tmp_path), Answers("ArrDelay > 15"))
    assert {name for name, role in roles(flights).items() if role == "outcome"} == {"DepDelay", "AirTime", "Cancelled"}
    assert flights.timing.event_time == "local_time(Year, Month, DayofMonth, 0)"
    inspections = guessed(tables.write("inspections", tmp_path), Answers("Results"))
    told = roles(inspections)
    assert (told["Inspection ID"], told["DBA Name"], told["Results"]) == ("identifier", "personal", "label")
    assert inspections.observed.table.column("Inspection Date").formats == ("%m/%d/%Y",)
    assert inspections.observed.table.column("Zip").type == "text"  # 02134 would lose its zero
    assert inspections.key == ("Inspection ID",)
    assert inspections.target.expression == 'Results == "Fail" if Results in ("Fail", "Pass") else None'


def test_types_of_wages_and_classes_of_grades(tmp_path):
    wages = guessed(tables.write("wages", tmp_path), Answers("Hourly Wage ($)"))
    types = {column.name: column.type for column in wages.observed.table.columns}
    assert types["Union"] == "boolean"
    assert types["Education"] == "integer"  # 12.0 is one
    assert roles(wages)["Nation"] == "constant"
    grades = guessed(tables.write("grades", tmp_path), Answers("Grade"))
    assert grades.target.classes == ("maybe", "no", "yes")  # `on` has three rows


def test_seconds_since_1970_are_a_time(tmp_path):
    whole = guessed(tables.write("regression", tmp_path), Answers("energy"))
    assert whole.timing.event_time == "timestamp"
    assert whole.observed.table.column("timestamp").formats == ("epoch seconds",)


@pytest.mark.parametrize("unit", ["epoch days", "epoch seconds", "epoch milliseconds"])
@pytest.mark.parametrize(("name", "answer"), [("created_date", None), ("when", "when")])
def test_numbers_since_1970_are_times_by_their_name_or_because_a_person_says_so(tmp_path, unit, name, answer):
    random = np.random.default_rng(1)
    days = 18_000 + np.sort(random.integers(0, 90, 400))
    numbers = days * {"epoch days": 1, "epoch seconds": 86_400, "epoch milliseconds": 86_400_000}[unit]
    frame = pl.DataFrame({name: numbers, "x": random.normal(size=400), "label": random.integers(0, 2, 400)})
    frame.write_csv(tmp_path / "shop.csv")
    whole = guessed(tmp_path / "shop.csv", Answers("label", time=answer))
    assert whole.timing.window.holdout[1] == "2019-07-12"
    assert (whole.observed.table.column(name).formats == (unit,)) == (answer is None)
    write.check(project_files.texts(whole, "none", {}))


def test_numbers_that_are_no_times_stay_numbers(tmp_path):
    random = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "delivery_time": random.integers(4_000, 60_000, 400),  # milliseconds, say
            "update": random.integers(18_000, 18_090, 400),
            "population": random.integers(500_000_000, 600_000_000, 400),
            "label": random.integers(0, 2, 400),
        }
    )
    frame.write_csv(tmp_path / "shop.csv")
    whole = guessed(tmp_path / "shop.csv", Answers("label"))
    assert {"delivery_time", "update", "population"} <= whole.features.keys()


def test_a_column_that_grows_with_the_time_is_no_feature_under_a_split_by_time(tmp_path):
    random = np.random.default_rng(1)
    days = pl.Series([date(2024, 1, 1) + timedelta(days=int(day)) for day in np.sort(random.integers(0, 360, 800))])
    frame = pl.DataFrame(
        {
            "day": days,
            "month": days.dt.month(),
            "version": np.arange(800) // 3 * 1.5,
            "hour": random.integers(0, 24, 800),
            "drift": random.normal(size=800) + np.arange(800) / 800,
            "label": random.integers(0, 2, 800),
        }
    )
    frame.write_csv(tmp_path / "shop.csv")
    whole = guessed(tmp_path / "shop.csv", Answers("label"))
    assert {"hour", "drift"} <= whole.features.keys()
    assert not {"month", "version"} & whole.features.keys()
    assert any(
        "'month' is a time" in guess.what and "grows with the time" in guess.why for guess in guesses.guesses(whole)
    )
    write.check(project_files.texts(whole, "none", {}))


def test_columns_whose_names_are_taken_are_renamed_in_the_source(tmp_path):
    whole = guessed(tables.write("events", tmp_path), Answers("target"))
    assert whole.observed.named.declared["keep"]["event_time_1"] == "event_time"
    assert whole.target.name == "target_2"


def test_columns_that_no_contract_can_hold_are_left_out_and_told(tmp_path):
    random = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "size": random.normal(size=200),
            "tags": [["a", "b"]] * 200,
            "place": [{"lat": 1.0, "lon": 2.0}] * 200,
            "took": pl.Series([timedelta(minutes=3)] * 200),
            "picture": [b"\x00\x01"] * 200,
            "bought": random.integers(0, 2, 200),
        }
    )
    frame.write_parquet(tmp_path / "shop.parquet")
    whole = guessed(tmp_path / "shop.parquet", Answers("bought"))
    assert whole.observed.named.declared["keep"] == {"size": "size", "bought": "bought"}
    texts = project_files.texts(whole, "none", {})
    write.check(texts)
    told = {guess.what: places.place(whole, guess, texts) for guess in guesses.guesses(whole)}
    [line] = {told[f"'{name}' of shop is left out"] for name in ("tags", "place", "took", "picture")}
    assert texts[Path("conf/data/shop.yaml")].splitlines()[int(line.rpartition(":")[2]) - 1].startswith("    keep:")


def test_a_column_that_is_the_label_in_other_words_is_no_feature(tmp_path):
    random = np.random.default_rng(1)
    label = random.integers(0, 2, 500)
    frame = pl.DataFrame({"x": random.normal(size=500), "refund": 10.0 * label, "bought": label})
    frame.write_csv(tmp_path / "shop.csv")
    whole = guessed(tmp_path / "shop.csv", Answers("bought"))
    assert whole.roles["refund"].role == "outcome"
    assert "refund" not in whole.features


def test_a_feature_that_ranks_well_alone_blocks_until_a_person_gives_the_reason(tmp_path):
    whole = guessed(tables.write("penguins", tmp_path), Answers("species"))
    gates = project_files.texts(whole, "none", {})[Path("conf/gates/penguins.yaml")]
    rules = yaml.safe_load(gates)["rules"]
    assert not [rule for rule in rules.values() if "explained" in rule]
    completed = yaml.safe_load(re.sub("^    # (?=explained:|  )", "    ", gates, flags=re.MULTILINE))
    named = ("bill_length_mm", "flipper_length_mm")
    assert completed["rules"]["no_leak"]["explained"] == dict.fromkeys(named, "why it is known before")
    assert all(any(name in guess.what for guess in guesses.guesses(whole)) for name in named)


def test_a_feature_that_may_be_a_leak_is_told_at_its_own_line(tmp_path):
    whole = guessed(tables.write("penguins", tmp_path), Answers("species"))
    content = json.loads((Path(__file__).parents[1] / "golden/report/reports.json").read_text(encoding="utf-8"))
    gate = {**content["gates"]["gates"][0], "kind": "leak", "verdict": "fail", "blocking": True, "id": "no_leak"}
    reason = (
        "the share of island in all importance is 0.81, above 0.7: fix the leak, or say under explained: {island: …}"
    )
    content["gates"]["gates"] = [{**gate, "metric": "importance", "observed": 0.81, "reason": reason}]
    seen = first_run.leaks(whole, Reports.model_validate({**content, "gates": {**content["gates"], "verdict": "fail"}}))
    assert seen == {"island": "has 0.81 of all importance"}
    text = conf_text.features(whole, seen)
    above = {line.split(":")[0].strip(): before for before, line in itertools.pairwise(text.splitlines())}
    told = {name for name, line in above.items() if line.endswith("explained.")}
    assert told == {"island", "bill_length_mm", "flipper_length_mm"}
    assert "      # island has 0.81 of all importance, which may be a leak." in text
    assert max(map(len, text.splitlines())) <= 120
    gates = gates_text.text(whole, {}, seen)
    assert "    #   island: why it is known before # has 0.81 of all importance\n" in gates
    assert yaml.safe_load(text)["views"]["row"]["features"] == dict(whole.features)
    texts = {**project_files.texts(whole, "none", {}), Path("conf/features/penguins.yaml"): text}
    (guess,) = guesses.leaks(seen)
    assert places.place(whole, guess, texts).startswith("conf/features/penguins.yaml:")
    assert text.splitlines()[int(places.place(whole, guess, texts).rpartition(":")[2]) - 1] == "      island: island"


def test_of_several_classes_only_a_column_that_tells_them_all_is_the_label_itself(tmp_path):
    random = np.random.default_rng(1)
    code = random.integers(0, 3, 600)
    frame = pl.DataFrame(
        {
            "kind": np.array(["a", "b", "c"])[code],
            "code": np.array([7, 3, 5])[code],
            "size": random.normal(0, 1, 600) + 9 * (code == 0),  # tells a from the others, and those not at all
        }
    )
    frame.write_csv(tmp_path / "kinds.csv")
    whole = guessed(tmp_path / "kinds.csv", Answers("kind"))
    assert (whole.roles["code"].role, whole.roles["size"].role) == ("outcome", "feature")


def test_a_key_of_many_columns_has_none_that_it_does_not_need(tmp_path):
    digits = np.array([[number // 5**place % 5 for place in range(4)] for number in range(625)])
    label = np.random.default_rng(1).integers(0, 2, 625)
    frame = pl.DataFrame({**{f"part_{place}": digits[:, place] for place in range(4)}, "spare": 1 - label, "y": label})
    frame.write_csv(tmp_path / "parts.csv")
    assert guessed(tmp_path / "parts.csv", Answers("y")).key == ("part_0", "part_1", "part_2", "part_3")


def test_a_table_to_look_up_in_is_a_view_that_only_has_to_be_uncommented(tmp_path):
    random = np.random.default_rng(1)
    customer = random.integers(0, 50, 400)
    label = random.integers(0, 2, 400)
    orders = pl.DataFrame({"order": range(400), "customer_id": customer, "sum": random.normal(size=400), "late": label})
    customers = pl.DataFrame({"customer_id": range(50), "late": random.normal(size=50), "E-mail": ["a@b"] * 50})
    orders.write_csv(tmp_path / "orders.csv")
    customers.write_csv(tmp_path / "customers.csv")
    read = [loading.load(str(tmp_path / f"{name}.csv"), tmp_path / "project") for name in ("orders", "customers")]
    whole = problem.problem(read, Answers("late"))
    assert list(whole.features) == ["sum"]  # the number of a customer means nothing
    texts, path = project_files.texts(whole, "none", {}), Path("conf/features/orders.yaml")
    view = "of_customers: {kind: lookup, table: customers, keys: [customer_id], features: {late_2: late}}"
    assert f"  # {view}\n" in texts[path]
    write.check({**texts, path: texts[path].replace(f"# {view}", view)})


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (Answers("Chrun"), "no column 'Chrun'; did you mean 'Churn'?"),
        (Answers("customerID"), "'customerID' has 1000 different values"),
        (
            Answers("Tenure > 1000"),
            "--target: all 1000 labels of 'Tenure > 1000' are the same; name what differs by row",
        ),
        (Answers("Churn", key=("Tenur",)), "--key: table churn has no column 'Tenur'; did you mean 'Tenure'?"),
        (Answers("Churn", time="Contract"), "--time: column 'Contract' is text, and no time"),
    ],
)
def test_an_answer_that_does_not_fit_says_why(tmp_path, answers, message):
    with pytest.raises(UserError) as refused:
        guessed(tables.write("churn", tmp_path), answers)
    assert message in str(refused.value)


NAMES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12),
    st.sampled_from(
        ["event_time", "reasons", "target", "all", "1", "yes", "a.b", "x y", "#", "*", "${a}", "été", "row"]
    ),
    st.sampled_from(keyword.kwlist),
)
KINDS = ("integer", "number", "text", "boolean", "time", "none", "constant")


def column(random: np.random.Generator, kind: str, rows: int) -> list[object]:
    values = {
        "integer": lambda: random.integers(-5, 40, rows),
        "number": lambda: random.normal(0, 10.0 ** random.integers(-8, 12), rows),
        "text": lambda: random.choice(["no", "Ja", "n/a ", "3 °C", "'", "x: y"], rows),
        "boolean": lambda: random.integers(0, 2, rows).astype(bool),
        "time": lambda: np.datetime64("2020-01-01") + random.integers(0, 400, rows),
        "none": lambda: np.full(rows, None),
        "constant": lambda: np.full(rows, 7),
    }[kind]()
    missing = random.random(rows) < random.choice([0, 0.3])
    return [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]


@settings(max_examples=15)
@given(
    st.lists(NAMES, min_size=1, max_size=6, unique=True),
    st.lists(st.sampled_from(KINDS), min_size=6, max_size=6),
    st.integers(0, 2**31),
    st.sampled_from(["label", "label > 0", "what"]),
)
def test_any_table_gives_a_project_without_a_mistake_or_says_why_not(names, kinds, seed, target):
    random, rows = np.random.default_rng(seed), 120
    columns = {name: column(random, kind, rows) for name, kind in zip(names, kinds, strict=False)}
    label = {"label": random.normal(0, 1, rows), "what": random.choice(["a", "b", "c"], rows)}
    frame = pl.DataFrame({**columns, **label})
    named = Named(
        "rows", {"kind": "files", "url": "data/in/", "format": "parquet", "files": {"rows.parquet": "0" * 64}}
    )
    mistake = ""
    try:
        named, frame = loading.kept(named, frame)
        whole = problem.problem([(named, profile.profile("rows", frame, texts=False))], Answers(target))
        write.check(project_files.texts(whole, "none", {}))
    except UserError as error:
        mistake = str(error)
    assert not mistake or any(name[:20] in mistake or repr(name) in mistake for name in [*names, "label", "what"])


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("${:,.2f}", "$5,000.50"), ("{:.1f}%", "5000.5%"), ("{:,.0f}", "5,000"), ("{:.2f} €", "5000.50 €"),
        ("USD {:.0f}", "USD 5000"), ("({:,.2f})", None), ("A-{:.0f}", None), ("ABC{:.0f}", None),
        ("{:.0f} rooms", None), ("{:.2f}", None),
    ],
)  # fmt: skip
def test_numbers_that_no_contract_reads_are_told_with_what_to_do(tmp_path, written, same):
    random = np.random.default_rng(1)
    values = [written.format(5000.5 if not row else value) for row, value in enumerate(random.uniform(2e3, 9e3, 300))]
    frame = pl.DataFrame({"x": random.normal(size=300), "sum": values, "y": random.integers(0, 2, 300)})
    frame.write_csv(tmp_path / "bills.csv")
    whole = guessed(tmp_path / "bills.csv", Answers("y"))
    told = [guess for guess in guesses.guesses(whole) if "1234.5" in guess.why and "'sum'" in guess.what]
    assert bool(told) == (same is not None)
    assert all(f"such as '{same}'" in guess.why for guess in told)
    if told:
        with pytest.raises(UserError, match=r"^--target: 'sum' is no number: its numbers are written such as"):
            guessed(tmp_path / "bills.csv", Answers("sum"))


@pytest.mark.parametrize("columns", [{}, {"id": "text"}, {"sum": "money"}, {"c": "constant"}])
def test_a_table_that_nothing_can_be_predicted_from_says_why(tmp_path, columns):
    made = {"text": "id-{}", "money": "${}.00", "constant": "1"}
    values = {name: [made[kind].format(row) for row in range(300)] for name, kind in columns.items()}
    pl.DataFrame({**values, "y": np.random.default_rng(1).integers(0, 2, 300)}).write_csv(tmp_path / "rows.csv")
    with pytest.raises(UserError, match=r"^rows: no column is left to predict from: .*; supply more columns$"):
        guessed(tmp_path / "rows.csv", Answers("y"))


@pytest.mark.parametrize("name", ["book.xlsx", "lines.JSON", "frame.pkl"])
def test_a_file_that_is_no_table_of_ours_is_refused_by_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"is neither CSV nor Parquet; save the table as one of them"):
        guessed(tmp_path / name, Answers("y"))


def test_a_word_among_numbers_means_that_there_is_none(tmp_path):
    random = np.random.default_rng(1)
    values = ["unknown" if not row % 5 else str(value) for row, value in enumerate(random.normal(size=300))]
    pl.DataFrame({"x": values, "y": random.integers(0, 2, 300)}).write_csv(tmp_path / "rows.csv")
    whole = guessed(tmp_path / "rows.csv", Answers("y"))
    assert whole.observed.table.column("x").type == "number"
    assert whole.observed.named.declared["nulls"] == ["", "unknown"]
