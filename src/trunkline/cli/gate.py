"""`trunkline gate`: whether the model may be merged, and why not."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output
from trunkline.core import durations

if TYPE_CHECKING:
    from trunkline.pipeline.gate.selftest import Case
    from trunkline.pipeline.reports import GatesReport, Verdict


@click.command(short_help="Say whether the model passes the declared rules.")
@click.option("--self-test", "testing", is_flag=True, help="Try the rules on models that are known to be bad or good.")
@options.base("Let a change pass that ships the very model of REF, such as a rollback.")
@options.as_json()
@click.pass_context
def gate(context: click.Context, testing: bool, base: str | None, as_json: bool) -> None:
    """Print what became of each rule of conf/gates; exit 1 if one that blocks has failed.

    Reads what the gate stage left in reports/gates.json. Rules of times, relative to the model in production, are
    measured now. With --self-test, bad and good models are planted under the same rules, and a rule set that gives
    one of them the wrong verdict, or the right one for a wrong reason, exits 1.

    With --base, the verdict does not decide where nothing has changed that makes a model: the bundle is that of the
    commit where the branch left REF, and so are conf/, the code, the pipeline and the locks. What decides then, and
    always with --base, is whether every version that models/registry.yaml now names may be run. Else metrics, slices
    and verdicts are computed again and must equal the reports, and the budget of conf/deploy is judged. Where the
    change edits conf/gates, conf/evaluation or the budget, what REF says of them decides as well. A REF of zeros, or
    an empty one, is what a forge says of a new branch: the verdict decides.
    """
    if testing and base is not None:
        raise click.UsageError("--self-test and --base exclude each other.")
    new = base is not None and not base.strip("0")
    passed = _self_test(as_json) if testing else _judge(None if new else base, as_json)
    context.exit(0 if passed else 1)


def _judge(base: str | None, as_json: bool) -> bool:
    from dataclasses import asdict

    from trunkline.adapters.git import repository
    from trunkline.adapters.git.snapshot import Since, Snapshot
    from trunkline.conf.gates import Gates
    from trunkline.core import paths
    from trunkline.core.params import Params
    from trunkline.deploy import moves as deploy_moves
    from trunkline.pipeline import reports
    from trunkline.pipeline.gate import decision, recompute
    from trunkline.review import former, spending

    now, params = reports.Reports.parse(reports.read(Path())), Params.read()
    judged = now.gates
    verdicts = decision.decide(params.group(Gates), judged)
    before = None if base is None else Snapshot(Path(), repository.merge_base(Path(), base), deploy_moves.READ)
    same = before is not None and deploy_moves.same_model(Since(Path(), before))
    differing = []
    if before is not None and not same:
        differing = recompute.differences(params)
        verdicts += former.verdicts(Params(before.mapping(paths.PARAMS), paths.PARAMS), params, now.validation)
        verdicts += spending.verdicts_here(Path(), params, before)
    passed = reports.passes(verdicts) and not differing
    moves = deploy_moves.moves(Path(), params, before) if before is not None else ()
    if as_json:
        content = judged.model_copy(update={"gates": tuple(verdicts), "verdict": "pass" if passed else "fail"})
        more = {"same_model": same, "moves": [asdict(move) for move in moves]} if before is not None else {}
        more |= {"differing": differing} if differing else {}
        output.echo_json(content.model_dump() | more)
    else:
        _show(judged, verdicts, passed)
        for path in differing:
            click.echo(f"{path}: is not what scores, labels and rules give; run: dvc repro --force")
        for move in moves:
            click.echo(f"refused: {move.refused}" if move.refused else deploy_moves.in_words(move, str))
        if same and not passed:
            click.echo("this does not decide here: no other model is shipped, since the bundle is that of the base")
    return (passed or same) and not any(move.refused for move in moves)


def _show(judged: "GatesReport", verdicts: "list[Verdict]", passed: bool) -> None:
    from trunkline.review.summary import gates_table
    from trunkline.show import terminal

    champion = judged.champion
    against = f"{champion.version}, bundle {champion.digest[:12]}" if champion else "production has none yet"
    terminal.show(gates_table(verdicts))
    blocking = [verdict for verdict in verdicts if verdict.blocking and verdict.verdict == "fail"]
    click.echo(f"champion: {against}; challenger: bundle {judged.challenger[:12]}")
    click.echo("pass: nothing blocks" if passed else f"fail: {len(blocking)} of {len(verdicts)} verdicts block")


def _self_test(as_json: bool) -> bool:
    from functools import partial

    from rich.text import Text

    from trunkline.conf.evaluation import Evaluation
    from trunkline.conf.gates import Gates
    from trunkline.core.params import Params
    from trunkline.core.progress import track
    from trunkline.pipeline.gate import evidence, selftest
    from trunkline.show import terminal

    params = Params.read()
    measured = params.group(Evaluation)
    progress = partial(track, what="planting", unit="models")
    with durations.measured(Path(), "trunkline gate --self-test"):
        cases = selftest.run(params.group(Gates), measured, evidence.read(measured, params.seed), progress)
    passed = all(case.right for case in cases)
    if as_json:
        content = {"passed": passed, "cases": selftest.content(cases)}
        output.echo_json(content)
    else:
        table = terminal.table("", "planted", "wanted", "found", left=(0, 1, 2, 3))
        for case in cases:
            mark = Text("right", style="green") if case.right else Text("WRONG", style="bold red")
            table.add_row(mark, Text(case.name), Text(case.wanted), Text(case.outcome))
        terminal.show(table)
        tell(cases)
    return passed


def tell(cases: "Sequence[Case]") -> None:
    """Print what the rules lack, by the planted models that got the wrong verdict, and how many got the right one."""
    wrong = [case for case in cases if not case.right]
    for case in wrong:
        click.echo(f"{case.name}: {case.outcome}; {case.missing}")
    right = len(cases) - len(wrong)
    click.echo(f"{right} of {len(cases)} planted models got the right verdict for the right reason")
