"""What the base says of the results in the working directory, by its own rules and policies."""

from collections.abc import Iterator, Mapping

from trunkline.conf.contract import Contract, TableContract
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.pipeline.gate import recompute
from trunkline.pipeline.reports import TableReport, Verdict
from trunkline.review import problem

POLICY = "contract"


def verdicts(before: Params, params: Params, validation: Mapping[str, TableReport]) -> list[Verdict]:
    """Return the verdicts by the base's gates, and by its contract: on what `validation` counted of each table.

    The gates of another model, by its name, have no say on this one. Of a change of the target alone they have: else a
    word in it would switch them off.
    """
    by_gates = (
        [] if problem.RENAMED in problem.changes(before.content, params.content) else recompute.former(before, params)
    )
    return [*by_gates, *_by_contract(before, params, validation)]


def _by_contract(before: Params, params: Params, validation: Mapping[str, TableReport]) -> Iterator[Verdict]:
    """Yield a verdict that blocks for each table of which the base's contract would have failed the run.

    A rule that the change has taken out has counted nothing, so that only the contract's difference shows it. That the
    base's contract cannot be understood only warns, as of its gates.
    """
    if before.content.get(Contract.key) == params.content.get(Contract.key):
        return
    try:
        tables = before.group(Contract).tables
    except UserError as error:
        yield Verdict(POLICY, POLICY, False, "fail", f"{recompute.UNREADABLE}{error}")
        return
    for name, report in validation.items():
        reasons = list(_failures(tables[name], report)) if name in tables else []
        if reasons:
            where = f"{paths.VALIDATION}: {name}: "
            yield Verdict(POLICY, POLICY, True, "fail", f"{recompute.FORMER}{where}{'; '.join(reasons)}")


def _failures(table: TableContract, report: TableReport) -> Iterator[str]:
    if report.quarantined > table.quarantine_limit * report.rows:
        share = f"{report.quarantined / report.rows:.2%}"
        yield f"{share} of the rows are in quarantine, more than its quarantine_limit of {table.quarantine_limit:.2%}"
    for key, count in report.checks.items():
        kind, _, name = key.partition(".")
        if kind == "unique":
            on_failure: str | None = table.on_duplicate
        else:
            rule = table.checks.get(name) if kind == "checks" else table.columns.get(name.rpartition(".")[0])
            on_failure = rule.on_failure if rule else None  # a rule that this contract does not have fails nothing
        if on_failure == "fail":
            yield f"{count:,} rows break {key}, which fails the run there"
