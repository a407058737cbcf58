"""A project with two versions, which production has run in turn: what is traced and audited."""

import pytest

from tests.trunks import entered, flights


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return flights(tmp_path_factory.mktemp("flights") / "project")


@pytest.fixture
def inside(made, tmp_path, monkeypatch):
    """A copy of the flights' project, which a test may break."""
    return entered(made, tmp_path / "project", monkeypatch)
