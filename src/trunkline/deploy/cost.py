"""What a change costs, by declared unit prices, of what was measured. Pure; what is not known has no cost, not none."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from trunkline.conf.prices import Budget, Machine, Prices
from trunkline.pipeline.reports import Answer, Verdict

DAYS = 30  # of a month
Item = Literal["run", "million_predictions", "month"]
KIND = "budget"

_HOUR, _MILLION, _GB = 3600.0, 1e6, 1e9
_NAMES: dict[Item, str] = {"run": "a run", "million_predictions": "a million predictions", "month": "a month"}


@dataclass(frozen=True)
class Measured:
    """What a change is known to take; None where it is not known.

    `seconds` of the stages that it runs, `pulled` bytes that they fetch, `latency` seconds of a prediction, `stored`
    bytes of its outputs, `rows` that were scored in a month.
    """

    seconds: float | None = None
    pulled: int = 0
    latency: float | None = None
    stored: int | None = None
    rows: float | None = None


@dataclass(frozen=True)
class Cost:
    """What something costs, and of what that is; `amount` is None where it is not known, and `of` says why."""

    item: Item
    amount: float | None
    currency: str
    of: str

    @property
    def name(self) -> str:
        """What is paid for, in words."""
        return _NAMES[self.item]

    @property
    def words(self) -> str:
        """The amount, as people write it."""
        return "not known" if self.amount is None else in_words(self.amount, self.currency)

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.name}: {self.words} ({self.of})"


def costs(prices: Prices, measured: Measured) -> tuple[Cost, ...]:
    """Return the cost of a run, of a million predictions and of a month, without those that nothing has a price of."""
    parts = {"run": _run(prices, measured), "million_predictions": _million(prices, measured)}
    parts["month"] = _month(prices, measured)
    return tuple(Cost(item, part[0], prices.currency, part[1]) for item in _NAMES if (part := parts[item]) is not None)


def hourly(prices: Prices, machine: Machine) -> float | None:
    """Return the price of a machine for an hour; None if nothing of it has one."""
    pairs = (
        (prices.cpu_hour, machine.cpus),
        (prices.memory_gb_hour, machine.memory_gb),
        (prices.gpu_hour, machine.gpus),
    )
    paid = [price * count for price, count in pairs if price is not None and count]
    return sum(paid) if paid else None


def verdicts(budget: Budget, shown: tuple[Cost, ...]) -> Iterator[Verdict]:
    """Yield what becomes of each limit; one on what is not known has failed, as a rule that cannot be judged."""
    by_item = {cost.item: cost for cost in shown}
    for item in _NAMES:
        limit = getattr(budget, item)
        if limit is not None:
            yield _verdict(item, limit, by_item.get(item), blocking=not budget.advisory)


def in_words(amount: float, currency: str) -> str:
    """Return an amount as people write it: two decimals, or two digits of what is less than 1."""
    if not amount or amount >= 1:
        return f"{amount:,.2f} {currency}"
    return f"{Decimal(f'{amount:.2g}'):f} {currency}"


def _verdict(item: Item, limit: float, cost: Cost | None, *, blocking: bool) -> Verdict:
    name = f"{KIND}.{item}"
    if cost is None or cost.amount is None:
        why = cost.of if cost else "deploy.prices has no price of it"
        return Verdict(name, KIND, blocking, "fail", f"{_NAMES[item]} cannot be judged, so it fails: {why}")
    side = "more than" if cost.amount > limit else "at most"
    reason = f"{cost.name} costs {cost.words}, {side} {in_words(limit, cost.currency)} ({cost.of})"
    answer: Answer = "fail" if cost.amount > limit else "pass"
    return Verdict(name, KIND, blocking, answer, reason, observed=cost.amount, threshold=limit)


Part = tuple[float | None, str]


def _run(prices: Prices, measured: Measured) -> Part | None:
    hour = hourly(prices, prices.run)
    if hour is None and prices.out_gb is None:
        return None
    if hour is not None and measured.seconds is None:
        return None, "how long a stage that it runs takes is not known here; run: dvc repro"
    machine = 0.0 if hour is None or measured.seconds is None else hour / _HOUR * measured.seconds
    out = (prices.out_gb or 0.0) * measured.pulled / _GB
    words = [] if hour is None else [f"{measured.seconds:.0f} s of stages"]
    words += [f"{_gb(measured.pulled)} to pull"] if prices.out_gb is not None and (measured.pulled or not words) else []
    return machine + out, ", ".join(words)


def _million(prices: Prices, measured: Measured) -> Part | None:
    hour = hourly(prices, prices.serve)
    if hour is None:
        return None
    if measured.latency is None:
        return None, "how long a prediction takes is not known: there is no bundle of this tree that serves"
    return hour / _HOUR * measured.latency * _MILLION, f"{measured.latency * 1e6:.0f} µs of the model for each"


def _month(prices: Prices, measured: Measured) -> Part | None:
    parts = [part for part in (_serving(prices, measured), _storage(prices, measured)) if part is not None]
    if not parts:
        return None
    unknown = [why for amount, why in parts if amount is None]
    if unknown:
        return None, "; ".join(unknown)
    return sum(amount for amount, _ in parts if amount is not None), ", ".join(words for _, words in parts)


def _serving(prices: Prices, measured: Measured) -> Part | None:
    hour = hourly(prices, prices.serve)
    if hour is None:
        return None
    if prices.servers is not None:
        return hour * 24 * DAYS * prices.servers, f"{prices.servers:,} servers"
    million = _million(prices, measured)
    if million is None or million[0] is None:
        return million
    if measured.rows is None:
        return None, "a day of traffic is in no log that can be read here: serving.log"
    return million[0] * measured.rows / _MILLION, f"{measured.rows:,.0f} logged rows"


def _storage(prices: Prices, measured: Measured) -> Part | None:
    if prices.stored_gb_month is None:
        return None
    if measured.stored is None:
        return None, "what its outputs are is not known until they are computed; run: dvc repro"
    return prices.stored_gb_month * measured.stored / _GB, f"{_gb(measured.stored)} stored"


def _gb(count: int) -> str:
    return f"{count / _GB:.3g} GB"
