"""A derived column is known when the last of its parts is, however deep they lie; and the registry is judged too."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.core.errors import UserError
from trunkline.pipeline.compose import derived
from trunkline.pipeline.compose.compose import compose
from trunkline.pipeline.compose.judge import check

STORED = {"a": "request", "b": "request", "x": "outcome", "y": "outcome"}
DATA = {
    "sources": {"t": {"kind": "files", "url": "in/", "files": {"a.csv": None}}},
    "observations": "t",
    "unique_key": ["a"],
    "split": {"holdout": 0.3},
    "target": {"name": "late", "expression": "x > 1"},
}


def verify(sources: dict[str, str], known: dict[str, dict[str, str]]) -> None:
    columns = {name: {"type": "integer", "description": "What it is"} | known[name] for name in known}
    table = {"privacy": "public", "unique": ["a"], "columns": columns}
    derived.verify(Data.parse(DATA | {"derive": {"t": sources}}), Contract.parse({"tables": {"t": table}}))


@given(data=st.data())
def test_only_the_latest_known_when_of_its_parts_is_accepted(data: st.DataObject) -> None:
    sources, latest = {}, dict(STORED)
    for name in ("p", "q", "r"):
        parts = data.draw(st.lists(st.sampled_from(sorted(latest)), min_size=1, max_size=3))
        sources[name] = " + ".join(parts)
        latest[name] = "outcome" if "outcome" in [latest[part] for part in parts] else "request"
    known: dict[str, Any] = {name: {"known": when} for name, when in latest.items()}
    verify(sources, known)
    for name in itertools.compress(sources, [latest[name] == "outcome" for name in sources]):
        with pytest.raises(UserError, match=rf"columns.{name}.known: is derived from .* write known: outcome"):
            verify(sources, known | {name: {"known": "request"}})
        verify(
            {name: sources[name]} | sources, known | {name: {"known_because": "the timetable has it"}} | _freed(name)
        )


def _freed(name: str) -> dict[str, dict[str, str]]:
    """What is derived from a column that is known at request may still be declared an outcome."""
    return {other: {"known": "outcome"} for other in ("p", "q", "r") if other > name}


def test_compose_judges_the_registry_beside_all_else(root: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"
    registry.write_text("wine: {staging: latest, production: null}\n")
    composed = compose(root / "conf", ["evaluation.metrics=[roc_acu]"])
    with pytest.raises(UserError) as refused:
        check(composed, root / "conf", registry)
    lines = str(refused.value).splitlines()
    assert "no metric 'roc_acu'" in lines[0]
    assert lines[-1].startswith(f"{registry}: has no model flight-delay; valid are: wine; write: flight-delay: ")
    registry.write_text("flight-delay: {production: null}\n")
    with pytest.raises(UserError, match="flight-delay: lacks staging; write: staging: null"):
        check(compose(root / "conf"), root / "conf", registry)
