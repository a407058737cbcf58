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
    from trunkline.conf.project import Project
    from trunkline.federation.compare import Compared
    from trunkline.federation.sites import PinnedSite
    from trunkline.pipeline.compose.files import Composed

_experiment = click.option(
    "--experiment", metavar="NAME", help="Of this option of conf/experiment, not of conf/config.yaml's."
)


@click.group(
    invoke_without_command=True,
    short_help="Verify and pin the sites' models that a joint one is made of; show whether joining helps.",
)
@click.option("--check", "checking", is_flag=True, help="Write nothing; exit 1 if a site is not what is pinned.")
@click.option("--compare", "comparing", is_flag=True, help="Fetch nothing; the joint model against each site's own.")
@options.as_json()
@_experiment
@click.pass_context
def federate(context: click.Context, *, checking: bool, comparing: bool, as_json: bool, experiment: str | None) -> None:
    """Fetch the versions that model.sites names, verify them, and write digests and rows into conf/ and graphs beside.

    A version is refused if it is not signed by a declared signer, predicts something else, has another contract or
    other features, or was trained on days that the own holdout judges. What follows is a diff for a pull request, and
    dvc repro, by which the joint model is judged as any other.

    With --compare: the joint model that dvc repro has trained, and each site's own, on the own holdout: the difference
    by the first metric of conf/evaluation, with its paired interval.

    A site that is a sum (docs/federation.md) is the mean of its members' linear models, of whose masked shares only the
    sum can be read: `round` opens it, each member adds its `share`, and then this command verifies and pins it too.
    """
    if context.invoked_subcommand is not None:
        return
    if checking and comparing:
        raise click.UsageError("--check and --compare exclude each other.")
    if comparing:
        _compare(as_json)
        return
    moved = _pin(experiment, as_json, write=not checking)
    context.exit(1 if checking and moved else 0)


@federate.command("round", short_help="Open a round, of which each member of a sum makes its share.")
@click.argument("name")
@_experiment
def open_round(name: str, experiment: str | None) -> None:
    """Write the round of model.sites.NAME to models/rounds: who its members are, and of what they share coefficients.

    Features, contract and holdout are those of conf/; the texts of categories those of the training rows here. A round
    is opened once, and its members make their shares of the very file.
    """
    from trunkline.conf.model import Summed
    from trunkline.conf.origins import Origins
    from trunkline.core.dataset import Dataset
    from trunkline.federation import sites, sums

    _, project = _declared(experiment)
    summed = project.model.sites.get(name)
    if not isinstance(summed, Summed):
        raise UserError(f"model.sites.{name}: is no sum; declare its members: docs/federation.md of the framework")
    private = Origins(project.contract, project.data, project.features).personal_features
    path = sums.opened(name, summed, sites.Expected.of(project), Dataset.read("train"), private)
    click.echo(f"{path}: opened; next, each of {', '.join(summed.members)}: trunkline federate share, of this file")


@federate.command(short_help="Make the masked share of a round, of the own linear model.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--site", required=True, metavar="NAME", help="Which member of the round this project is.")
@_experiment
def share(file: Path, site: str, experiment: str | None) -> None:
    """Write beside FILE, a round's, what this project adds to the sum: signed, and masked by keys with the others.

    It is of the linear model that dvc repro has trained. TRUNKLINE_MASKING_KEY holds the member's private key, or names
    its file, and TRUNKLINE_SIGNING_KEY the one it signs with. Compare the keys that are shown with those that the other
    sites say are theirs: with keys of its own making, the joining project could read the share.
    """
    from trunkline.federation import sites, sums

    _, project = _declared(experiment)
    window = project.data.window
    path = sums.shared(file, site, sites.Expected.of(project), window.train.end if window else None, os.environ)
    for name, fingerprint in sums.fingerprints(file).items():
        click.echo(f"{name}: sha256 of its key {fingerprint}", err=True)
    click.echo(f"{path}: written; next: a pull request that adds it to the joining project")


def _declared(experiment: str | None) -> "tuple[Composed, Project]":
    from trunkline.pipeline.compose import compose, judge

    composed = compose.compose(paths.CONF, [f"experiment={experiment}"] if experiment else [])
    return composed, judge.check(composed, paths.CONF)


def _pin(experiment: str | None, as_json: bool, *, write: bool) -> bool:
    from trunkline.conf.model import Summed
    from trunkline.federation import sites, sums
    from trunkline.pipeline.compose import rewrite

    composed, project = _declared(experiment)
    declared = project.model.sites
    if not declared:
        raise UserError(
            "model.sites: names no site; declare those whose models are joined: docs/federation.md of the framework"
        )
    expected = sites.Expected.of(project)
    pinned = {
        name: sums.pinned(name, site, expected)
        if isinstance(site, Summed)
        else sites.pinned(name, site, expected, os.environ)
        for name, site in declared.items()
    }
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
