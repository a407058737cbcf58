"""The version before is better only where it is so on the same labelled rows, by all of the interval and the bound."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import msgspec
import numpy as np
import polars as pl
import pytest

from tests import bundles
from tests.monitor.logs import DAY, ORIGINS, OWN, SINCE, reference_of, rows, write, write_outcomes
from trunkline.bundle.contract import Input
from trunkline.conf.monitoring import Rule
from trunkline.core.errors import UserError
from trunkline.monitor import rival
from trunkline.monitor.measure import Plan, Source
from trunkline.monitor.rival import Previous
from trunkline.serve.labels import store
from trunkline.serve.prediction_log.place import Place

RULE = Rule(of="performance", measure="roc_auc", worse_by=0.03, rows=500, then="rollback")


def read(*words):
    """An input as a contract has it."""
    return msgspec.convert(bundles.field(*words), Input)


INPUTS = (read("distance", "number"), read("origin", "text"))


def right(numbers, texts):
    """What the rows' scores are: exact where distance is known."""
    origin = np.array([list(ORIGINS).index(text) for text in texts[:, 0]])
    return 1 / (1 + np.exp(-(np.log(np.nan_to_num(numbers[:, 0], nan=665.0)) - 6.5 + origin - 1.5)))


def previous(scores=right, inputs=INPUTS):
    contract = SimpleNamespace(inputs=inputs, scores=("score",), classes=())
    return Previous("v3", SimpleNamespace(contract=contract, scores=scores))


@pytest.fixture
def asked(tmp_path):
    """A log of a version whose scores say half of what they should, its outcomes, and the plan to read it."""
    content = rows(4000, seed=3, days=4)
    noise = pl.Series(np.random.default_rng(0).random(content.height))
    worse = content.with_columns((pl.col("score") * 0.3 + noise * 0.7).alias("score"))
    write(tmp_path, worse)
    write_outcomes(tmp_path, content, after=timedelta(minutes=1))
    where = Place(str(tmp_path))
    source = Source(where, reference_of(content, {"roc_auc": 0.77}), store.read(where, "binary"))
    return source, Plan(SINCE + DAY, SINCE + 4 * DAY, digest=OWN, cluster=("flight",))


def test_it_is_better_where_it_is(asked):
    found = rival.compared(*asked, previous(), RULE, "roc_auc")
    assert found.better
    assert (found.version, found.clusters, found.bound) == ("v3", 100, 0.03)
    assert found.rows == pytest.approx(3000, abs=100)  # from the day on that is asked for
    assert 0 < found.low < found.difference < found.high
    assert found.value - found.current == pytest.approx(found.difference)
    assert "v3 has roc_auc 0." in found.words


def test_it_is_not_better_where_it_only_seems_so_or_by_less_than_the_bound(asked):
    noise = np.random.default_rng(1)
    seems = rival.compared(*asked, previous(lambda numbers, texts: noise.random(len(numbers))), RULE, "roc_auc")
    assert not seems.better
    source, plan = asked
    few = replace(plan, since=SINCE + 3 * DAY)

    def alike(numbers, texts):
        return right(numbers, texts) * 0.42 + noise.random(len(numbers)) * 0.58

    unsure = rival.compared(source, few, previous(alike), RULE.model_copy(update={"worse_by": 0.001}), "roc_auc")
    assert (unsure.difference > unsure.bound, unsure.low > 0, unsure.better) == (True, False, False), unsure
    little = RULE.model_copy(update={"worse_by": 0.5})
    found = rival.compared(*asked, previous(), little, "roc_auc")
    assert (found.low > 0, found.better) == (True, False)


def test_rows_are_scored_by_their_logged_inputs_bit_for_bit(asked):
    seen = []
    rival.compared(*asked, previous(lambda numbers, texts: seen.append((numbers, texts)) or right(numbers, texts)),
                   RULE, "roc_auc")  # fmt: skip
    logged = rows(4000, seed=3, days=4).filter(pl.col("time") >= SINCE + DAY)
    numbers = np.concatenate([each for each, _ in seen])[:, 0]
    assert numbers.tolist() == pytest.approx(logged["distance"].fill_null(np.nan).to_list(), rel=0, nan_ok=True)
    assert np.concatenate([each for _, each in seen])[:, 0].tolist() == logged["origin"].to_list()


def test_what_cannot_be_compared_is_said(asked):
    source, plan = asked
    other = (*INPUTS, read("wind", "number"))
    with pytest.raises(UserError, match="it has the input wind, which the version that runs has not, nor its log"):
        rival.compared(source, plan, previous(inputs=other), RULE, "roc_auc")
    with pytest.raises(UserError, match=r"0 of 500 rows since .* have an outcome"):
        rival.compared(source, replace(plan, digest="b" * 64), previous(), RULE, "roc_auc")
