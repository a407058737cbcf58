"""Findings for a person: a table of all of them, and below it what to do about those that need it."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trunkline.doctor.findings import Finding
from trunkline.show import terminal

_STYLES = {"works": "green", "fails": "bold red", "not set up": "dim", "not known": "yellow"}


def screen(findings: Iterable[Finding]) -> RenderableType:
    """Return the findings as a table, and the advice on each that has some: first what fails."""
    findings = tuple(findings)
    lines = sorted((finding for finding in findings if finding.advice), key=lambda one: one.state != "fails")
    advice = [Text.assemble((finding.what, _STYLES[finding.state]), f": {finding.advice}") for finding in lines]
    return Group(_table(findings), *([Text(), Text("what to do", "bold"), *advice] if advice else []))


def _table(findings: Iterable[Finding]) -> Table:
    table = terminal.table("state", "what", left=(0, 1))
    table.add_column("detail", overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.state, _STYLES[finding.state]), Text(finding.what), Text(finding.detail))
    return table
