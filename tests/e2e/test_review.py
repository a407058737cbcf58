"""What a reviewer is shown of a real branch."""

import re

import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.e2e


def test_the_comment_and_the_page_of_a_branch(project: Checkout) -> None:
    def reported() -> tuple[str, str]:
        """The comment and the page, without what is measured: the time of a prediction."""
        quiet = {"PYTHONWARNINGS": "ignore"}  # those of DVC's packages
        said = project.run("trunkline", "review", "--base", "main", "--html", "review/page.html", env=quiet)
        first, second = (re.sub(r"\d+ µs", "some µs", text) for text in (said, project.read("review/page.html")))
        return first, second

    project.run("git", "switch", "-qc", "smaller")
    project.edit("conf/gates/flights.yaml", "megabytes, maximum: 50}", "megabytes, maximum: 0.001}")
    comment, page = reported()
    assert "Not reproduced" in comment
    assert "<strong>Not reproduced</strong>" in page
    project.repro()
    project.commit("Small bundles only")
    comment, page = reported()
    assert "## ❌ Do not merge: blocked by" in comment
    assert "Everything, with pictures, is in `page.html`." in comment
    assert re.search("<strong>Do not merge</strong>.*small", page)
    assert "<code>gates.rules.small.maximum</code>" in page
    assert page.count("<svg") == 7
    assert reported() == (comment, page)
