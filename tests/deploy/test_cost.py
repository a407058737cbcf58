"""What a change costs: the sum of price times quantity in exact fractions, nothing of what is not known or priced."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.deploy.targets.projects import declared
from trunkline.conf.deploy import Deploy
from trunkline.conf.prices import Budget, Machine, Prices
from trunkline.deploy import cost
from trunkline.deploy.cost import Measured

UNITS = ("cpu_hour", "memory_gb_hour", "gpu_hour", "stored_gb_month", "out_gb")
amounts = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))
machines = st.builds(Machine, cpus=amounts, memory_gb=amounts, gpus=amounts)
prices = st.builds(
    Prices, currency=st.just("EUR"), run=machines, serve=machines, servers=st.none() | st.integers(0, 1000),
    **{name: st.none() | amounts for name in UNITS},
)  # fmt: skip
measured = st.builds(
    Measured, seconds=st.none() | amounts, pulled=st.integers(0, 10**15), latency=st.none() | amounts,
    stored=st.none() | st.integers(0, 10**15), rows=st.none() | amounts,
)  # fmt: skip
PRICES = Prices(currency="EUR", cpu_hour=0.036, stored_gb_month=0.02, run=Machine(cpus=4.0))
MEASURED = Measured(seconds=100.0, latency=50e-6, stored=500_000_000, rows=2e6)


def exactly(paid: Prices, taken: Measured) -> dict[str, Fraction | None]:
    """Say what each item costs, in another way: by a list of quantities for each price, in fractions."""
    price = {name: None if getattr(paid, name) is None else Fraction(getattr(paid, name)) for name in UNITS}

    def hours(machine: Machine, seconds: float | None) -> list[tuple[str, Fraction | None]]:
        counts = zip(UNITS[:3], (machine.cpus, machine.memory_gb, machine.gpus), strict=True)
        time = None if seconds is None else Fraction(seconds) / 3600
        return [(name, time and time * Fraction(count)) for name, count in counts if count]

    million = hours(paid.serve, taken.latency)
    million = [(name, count and count * 10**6) for name, count in million]
    if paid.servers is None:
        share = None if taken.rows is None else Fraction(taken.rows) / 10**6
        served = [(name, None if None in (count, share) else count * share) for name, count in million]
    else:
        served = [(name, count * paid.servers) for name, count in hours(paid.serve, 30 * 24 * 3600.0)]
    stored = None if taken.stored is None else Fraction(taken.stored, 10**9)
    bills = {
        "run": [*hours(paid.run, taken.seconds), ("out_gb", Fraction(taken.pulled, 10**9))],
        "million_predictions": million,
        "month": [*served, ("stored_gb_month", stored)],
    }
    due = {
        item: [(price[name], count) for name, count in bill if price[name] is not None] for item, bill in bills.items()
    }
    return {
        item: None
        if any(count is None for _, count in bill)
        else sum((unit * count for unit, count in bill), Fraction(0))
        for item, bill in due.items()
        if bill
    }


@given(prices, measured)
def test_it_is_the_sum_of_prices_times_quantities_and_not_known_where_one_is_not(paid, taken):
    wanted = exactly(paid, taken)
    shown = {each.item: each.amount for each in cost.costs(paid, taken)}
    assert shown.keys() == wanted.keys()
    for item, amount in wanted.items():
        assert (shown[item] is None) == (amount is None)
        assert amount is None or shown[item] == pytest.approx(float(amount), rel=1e-12, abs=1e-300)


@given(prices, measured)
def test_a_limit_passes_what_costs_as_much_and_not_what_costs_the_least_bit_more(paid, taken):
    shown = cost.costs(paid, taken)
    for each in shown:
        limits = (each.amount, math.nextafter(each.amount, 0)) if each.amount else (1.0,)
        answers = [
            verdict.verdict for limit in limits for verdict in cost.verdicts(Budget(**{each.item: limit}), shown)
        ]
        assert answers == (["pass", "fail"] if each.amount else ["fail" if each.amount is None else "pass"])


def test_it_is_said_of_what_it_is():
    assert [str(each) for each in cost.costs(PRICES, MEASURED)] == [
        "a run: 0.004 EUR (100 s of stages)",
        "a million predictions: 0.0005 EUR (50 µs of the model for each)",
        "a month: 0.011 EUR (2,000,000 logged rows, 0.5 GB stored)",
    ]
    always = PRICES.model_copy(update={"servers": 2, "stored_gb_month": None})
    assert str(cost.costs(always, MEASURED)[-1]) == "a month: 51.84 EUR (2 servers)"
    pulls = Prices(currency="EUR", out_gb=0.1)
    assert [str(each) for each in cost.costs(pulls, Measured(pulled=3 * 10**9))] == ["a run: 0.3 EUR (3 GB to pull)"]
    assert cost.costs(Prices(currency="EUR"), MEASURED) == ()


@pytest.mark.parametrize(
    ("lacks", "item", "why"),
    [
        ("seconds", "run", "how long a stage that it runs takes is not known here"),
        ("latency", "million_predictions", "there is no bundle of this tree that serves"),
        ("rows", "month", "a day of traffic is in no log that can be read here"),
        ("stored", "month", "is not known until they are computed"),
    ],
)
def test_a_limit_on_what_is_not_known_fails_unless_it_is_advisory(lacks, item, why):
    shown = cost.costs(PRICES, replace(MEASURED, **{lacks: None}))
    for advisory in (False, True):
        [verdict] = cost.verdicts(Budget(**{item: 1e9}, advisory=advisory), shown)
        assert (verdict.verdict, verdict.blocking) == ("fail", not advisory)
        assert why in verdict.reason


def test_a_limit_on_what_has_no_price_is_refused_or_fails():
    content = declared()["deploy"]
    with pytest.raises(ValidationError, match="budget: limits what has no price; declare prices"):
        Deploy.parse(content | {"budget": {"run": 1.0}})
    [verdict] = cost.verdicts(Budget(run=1.0), cost.costs(Prices(currency="EUR"), MEASURED))
    assert verdict.reason == "a run cannot be judged, so it fails: deploy.prices has no price of it"
