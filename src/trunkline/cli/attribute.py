"""trunkline attribute: which of the things that changed moved the metric, and by how much."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trunkline.core import files, paths
from trunkline.core.errors import OutsideError, UserError, nearest

if TYPE_CHECKING:
    from rich.console import RenderableType

    from trunkline.attribution import Attribution, Change, Measured, Share
    from trunkline.worktrees import Run, Tree

STAGE = "evaluate"
SEPARATED = ("conf", "src", "stages", "dvc.yaml", "pyproject.toml", "locks")
MOST = 4  # changes of a factor


@dataclass(frozen=True)
class _Question:
    """What is asked: the two commits, what differs, the metric, and the tree of every combination by its name."""

    base: str
    head: str
    change: "Change"
    metric: str
    better: str | None
    trees: "Mapping[str, Tree]"


@click.command(short_help="Say which of several changes moved the metric.")
@click.option("--base", metavar="REF", default="main", show_default=True, help="The branch that this one has left.")
@click.option("--metric", metavar="NAME", help="The metric to explain, instead of the first that is declared.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--dry-run", is_flag=True, help="List what would be run, and how long that may take; run nothing.")
@click.option("--verbose", is_flag=True, help="Print what DVC says, on stderr.")
def attribute(base: str, metric: str | None, as_json: bool, dry_run: bool, verbose: bool) -> None:
    """Say how much of the metric's move since the base is due to the window, the config and the code.

    The base is run, then the head, then the base with each of these changes alone, in temporary checkouts that share
    the project's DVC cache: what was computed before is not computed again. A share is the metric with one change
    alone, minus that of the base; what the shares leave of the whole move is the interaction.
    """
    from trunkline import attribution

    question = _question(Path(), base, metric)
    if dry_run:
        _list(question, as_json)
        return
    found = attribution.attribute(
        question.change,
        _measure(question, verbose),
        metric=question.metric,
        better=question.better,
        base=question.base,
        head=question.head,
    )
    if as_json:
        click.echo(files.canonical_json(attribution.content(found), digits=None), nl=False)
    else:
        _show(found)


def _question(root: Path, ref: str, metric: str | None) -> _Question:
    from trunkline import git
    from trunkline.core.paramsfile import read_params

    head = git.head(root)
    if head is None:
        raise UserError("there is no commit here; run trunkline attribute in a project's clone")
    base = git.merge_base(root, ref)
    if git.is_dirty(root, SEPARATED):
        raise UserError(
            f"{', '.join(SEPARATED)}: something is not committed, and commits are compared; commit it first"
        )
    name, better = _chosen(read_params(root / paths.PARAMS), metric)
    change = _change(root, base, head)
    return _Question(base, head, change, name, better, _trees(base, head, change))


def _chosen(params: Mapping[str, Any], metric: str | None) -> tuple[str, str | None]:
    from trunkline import metrics

    declared = (params.get("evaluation") or {}).get("metrics") or []
    name = metric or next(iter(declared), "")
    if name not in declared:
        raise UserError(f"--metric: '{name}' is not in evaluation.metrics of {paths.PARAMS}{nearest(name, declared)}")
    return name, metrics.named(name).better


def _change(root: Path, base: str, head: str) -> "Change":
    from trunkline import git
    from trunkline.attribution import Change

    changed = git.changed_between(root, base, head)
    data = [Path(path) for path in changed if Path(path).parent == paths.CONF / "data" and path.endswith(".yaml")]
    read = git.files_at(root, (base, head), (*data, paths.PARAMS))
    texts = [
        {path.as_posix(): text.decode(errors="surrogateescape") for path, text in read[commit].items() if path in data}
        for commit in (base, head)
    ]
    params = [_params(read[commit].get(paths.PARAMS, b""), commit) for commit in (base, head)]
    return Change(changed, *texts, *params)


def _params(text: bytes, commit: str) -> dict[str, Any]:
    import yaml

    try:
        content = files.parse_yaml(text.decode(errors="replace"))
    except yaml.YAMLError as error:
        raise UserError(f"{commit[:12]}:{paths.PARAMS}: not YAML: {' '.join(str(error).split())}") from None
    return content if isinstance(content, dict) else {}


def _trees(base: str, head: str, change: "Change") -> "dict[str, Tree]":
    """Return the trees to run; all have the head's lock, so that no result of another environment is taken for one."""
    from trunkline.attribution import ALL, BASE, LOCK, environment_changed, factors
    from trunkline.worktrees import Tree

    found = factors(change)
    if not found:
        return {}
    lock = (LOCK,) if environment_changed(change) else ()
    alone = {factor.name: Tree(base, head, (*lock, *factor.paths), factor.texts) for factor in found}
    return {BASE: Tree(base, head, lock, {}), ALL: Tree(head, head, (), {}), **alone}


def _measure(question: _Question, verbose: bool) -> "dict[str, Measured]":
    """Run every combination.

    Raises OutsideError where the base or the head cannot be measured: there is no move to explain then.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from trunkline import worktrees

    cache = worktrees.cache_folder(Path()) if question.trees else Path()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found = {}
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=len(question.trees))
        for name, tree in question.trees.items():
            progress.update(task, description=_words(name))
            run = worktrees.reproduce(Path(), tree, cache, STAGE, paths.METRICS)
            if verbose:
                click.echo(f"--- {_words(name)}\n{run.log}", err=True)
            found[name] = _required(name, _read(run, question.metric))
            progress.advance(task)
    return found


def _words(name: str) -> str:
    from trunkline.attribution import ALL, BASE

    return name if name in {BASE, ALL} else f"{name} alone"


def _read(run: "Run", metric: str) -> "Measured":
    import json

    from trunkline.attribution import Measured, last_error

    if run.report is None:
        return Measured(None, error=last_error(run.log) if not run.succeeded else f"it made no {paths.METRICS}")
    holdout = json.loads(run.report).get("holdout") or {}
    value = holdout.get(metric)
    error = "" if value is not None else f"{paths.METRICS} has no {metric}"
    return Measured(None if value is None else float(value), holdout.get("n"), error)


def _required(name: str, measured: "Measured") -> "Measured":
    from trunkline.attribution import ALL, BASE

    if measured.value is None and name in {BASE, ALL}:
        raise OutsideError(f"{name} cannot be measured in the present environment: {measured.error}; see --verbose")
    return measured


def _list(question: _Question, as_json: bool) -> None:
    """Tell what would be run; the time is that of all stages, as if the cache had nothing."""
    from trunkline import attribution, layout

    seconds = _seconds(Path())
    found = {factor.name: factor.changes for factor in attribution.factors(question.change)}
    rows = [{"name": name, "changes": list(found.get(name, ())), "seconds": seconds} for name in question.trees]
    if as_json:
        whole = {"base": question.base, "head": question.head, "combinations": rows}
        click.echo(files.canonical_json(whole), nl=False)
        return
    made = layout.table("run", "changed", "at most", left=(0, 1))
    for name in question.trees:
        took = "" if seconds is None else f"{seconds:.0f} s"
        made.add_row(_words(name), _few(found.get(name, ())), took)
    layout.show(made)
    told = "not known, as not every stage has run here" if seconds is None else f"{seconds * len(rows):.0f} s at most"
    click.echo(f"{len(rows)} runs; time: {told}; what is in the cache is not run")


def _seconds(root: Path) -> float | None:
    from trunkline import attribution, durations

    stages = attribution.stages_before(files.parse_yaml((root / "dvc.yaml").read_text(encoding="utf-8")), STAGE)
    known = durations.read(root)
    return sum(known[name] for name in stages) if stages and set(stages) <= set(known) else None


def _show(found: "Attribution") -> None:
    from trunkline import layout

    if found.shares:
        layout.show(_table(found))
    for line in _lines(found):
        click.echo(line)


def _lines(found: "Attribution") -> Iterator[str]:
    if not found.shares:
        yield f"nothing of window, config and code has changed since {found.base[:12]}; name another base with --base"
    elif found.better:
        yield f"{found.metric}: {found.better} is better; against {found.base[:12]}"
    for share in found.shares:
        if share.value is None:
            yield f"{share.factor} cannot run alone, so its effect is in the interaction: {share.error}"
    yield from (f"note: {note}" for note in found.notes)


def _table(found: "Attribution") -> "RenderableType":
    from rich.text import Text

    from trunkline import layout

    made = layout.table("factor", "changed", f"{found.metric} with it alone", "share", left=(0, 1))
    for share in found.shares:
        made.add_row(Text(share.factor), Text(_few(share.changes)), *map(Text, _cells(share)))
    made.add_row("interaction", "what they do together only", "", _signed(found.interaction))
    made.add_row("whole move", f"{found.before:.6g} → {found.after:.6g}", f"{found.after:.6g}", _signed(found.move))
    return made


def _cells(share: "Share") -> tuple[str, str]:
    return ("", "cannot run alone") if share.value is None else (f"{share.value:.6g}", _signed(share.share))


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.6f}" if value else "same"


def _few(changes: tuple[str, ...]) -> str:
    return "\n".join([*changes[:MOST], *([f"and {len(changes) - MOST} more"] if len(changes) > MOST else [])])
