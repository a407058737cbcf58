"""`trunkline federate`: the models of other sites, verified and pinned, and whether joining them helps."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output
from trunkline.core import files, paths
from trunkline.core.errors import UserError

if TYPE_CHECKING:
    from trunkline.federation.compare import Compared
    from trunkline.federation.sites import PinnedSite


@click.command(short_help="Verify and pin the sites' models that a joint one is made of; show whether joining helps.")
@click.option("--check", "checking", is_flag=True, help="Write nothing; exit 1 if a site is not what is pinned.")
@click.option("--compare", "comparing", is_flag=True, help="Fetch nothing; the joint model against each site's own.")
@options.as_json()
@click.option("--experiment", metavar="NAME", help="Of this option of conf/experiment, not of conf/config.yaml's.")
@click.pass_context
def federate(context: click.Context, *, checking: bool, comparing: bool, as_json: bool, experiment: str | None) -> None:
    """Fetch the versions that model.sites names, verify them, and write digests and rows into conf/ and graphs beside.

    A version is refused if it is not signed by a declared signer, predicts something else, has another contract or
    other features, or was trained on days that the own holdout judges. What follows is a diff for a pull request, and
    dvc repro, by which the joint model is judged as any other.

    With --compare: the joint model that dvc repro has trained, and each site's own, on the own holdout: the difference
    by the first metric of conf/evaluation, with its paired interval.
    """
    if checking and comparing:
        raise click.UsageError("--check and --compare exclude each other.")
    if comparing:
        _compare(as_json)
        return
    moved = _pin(experiment, as_json, write=not checking)
    context.exit(1 if checking and moved else 0)


def _pin(experiment: str | None, as_json: bool, *, write: bool) -> bool:
    from trunkline.federation import sites
    from trunkline.pipeline.compose import compose, judge, rewrite

    composed = compose.compose(paths.CONF, [f"experiment={experiment}"] if experiment else [])
    project = judge.check(composed, paths.CONF)
    declared = project.model.sites
    if not declared:
        raise UserError(
            "model.sites: names no site; declare those whose models are joined: docs/federation.md of the framework"
        )
    expected = sites.Expected.of(project)
    pinned = {name: sites.pinned(name, site, expected, os.environ) for name, site in declared.items()}
    before = {name: (site.digest, site.rows) for name, site in declared.items()}
    moved = [name for name, site in pinned.items() if (site.digest, site.rows) != before[name]]
    stale = [name for name in pinned if name in moved or not sites.kept(name, pinned[name].digest)]
    changes = [
        (("model", "sites", name, key), value)
        for name in moved
        for key, value in (("digest", pinned[name].digest), ("rows", pinned[name].rows))
    ]
    edited = rewrite.rewritten(composed, changes)
    if write:
        sites.write(pinned)
        for path, text in edited.items():
            files.write_text(path, text)
    _tell(pinned, stale, edited, as_json, written=write)
    return bool(stale)


def _tell(
    pinned: "Mapping[str, PinnedSite]",
    stale: Sequence[str],
    edited: Mapping[Path, str],
    as_json: bool,
    *,
    written: bool,
) -> None:
    if as_json:
        content = {
            name: {"digest": site.digest, "rows": site.rows, "signer": site.signer, "moved": name in stale}
            for name, site in pinned.items()
        }
        output.echo_json({"sites": content, "files": sorted(map(str, edited)), "written": written})
        return
    for name, site in pinned.items():
        state = "" if name not in stale else ", pinned now" if written else ", is not what is pinned"
        click.echo(f"{name}: {site.digest[:12]}, {site.rows:,} rows, signed by {site.signer}{state}")
    if stale and written:
        click.echo(f"written to {', '.join([*sorted(map(str, edited)), f'{paths.SITES}/'])}; next: dvc repro")


def _compare(as_json: bool) -> None:
    from dataclasses import asdict

    from trunkline.core.params import Params
    from trunkline.federation import compare

    answers = compare.compared(Params.read())
    content = [asdict(each) | {"answer": each.answer} for each in answers]
    output.answer(content, "\n".join(map(_line, answers)), as_json)


def _line(each: "Compared") -> str:
    low, high = each.interval
    return (
        f"{each.site}: {each.metric} {each.alone:.4f} alone, {each.joint:.4f} joint; better by {each.better_by:+.4f} "
        f"({low:+.4f} to {high:+.4f}): joining {each.answer if each.answer != 'not shown' else 'is not shown to help'}"
    )
