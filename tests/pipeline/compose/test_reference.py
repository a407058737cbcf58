import datetime
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, StringConstraints

from trunkline.conf.project import Project
from trunkline.core.values import Columns, Duration, Name, Strict
from trunkline.pipeline.compose import reference
from trunkline.pipeline.compose.reference import describe

ROOT = Path(__file__).parents[3]


def test_the_reference_is_up_to_date():
    command = [sys.executable, "-m", "trunkline.pipeline.compose.reference"]
    fresh = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert (ROOT / "docs/conf.md").read_text(encoding="utf-8") == fresh, "stale; run: make docs"


def test_every_group_of_conf_has_its_section():
    folders = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} - {"experiment"}
    assert folders == {section.path for section in reference.sections(Project) if section.path.isalpha()}


@pytest.mark.parametrize("section", list(reference.sections(Project)), ids=lambda section: section.path or "config")
def test_every_key_has_a_meaning(section):
    assert section.text, "the structure has no docstring"
    assert [row.key for row in section.rows if len(row.meaning) < 5] == [], "without a description"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "integer"),
        (Name, "name"),
        (Columns, "list of column"),
        (Annotated[str, StringConstraints(pattern="^a+$")], "text, matching `^a+$`"),
        (Duration | None, "duration, such as 30min, 2h or 7d, or `null`"),
        (Literal["fail", "quarantine"], "`fail` or `quarantine`"),
        (dict[Name, Duration], "one per name: duration, such as 30min, 2h or 7d"),
    ],
)
def test_types_in_words(annotation, words):
    assert describe(annotation) == words


def test_a_type_without_words_is_refused_rather_than_guessed():
    with pytest.raises(TypeError, match=r"no words for the type <class 'datetime\.date'>"):
        describe(datetime.date)


class Shelf(Strict):
    """Where books stand."""

    length: int | None = Field(3, ge=1, description="How long | how wide.")
    genre: Name


class Library(Strict):
    """A house of books."""

    shelves: dict[Name, Shelf] = Field(default_factory=dict, description="All shelves.")
    best: Shelf


def test_nested_structures_become_sections_with_limits_and_defaults():
    house, shelf, best = reference.sections(Library)
    assert (shelf.path, best.path) == ("shelves.<name>", "best")
    assert [row.default for row in house.rows] == ["`{}`", "required"]
    assert house.rows[1].meaning == "Where books stand."
    assert shelf.rows[0].type == "integer, at least 1, or `null`"
    assert shelf.rows[1].meaning == ""
