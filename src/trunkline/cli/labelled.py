"""`trunkline labels import --open`: what annotators agree on as a pinned file of a source, in one pull request."""

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import forges, output

if TYPE_CHECKING:
    from trunkline.adapters.forge.api import Forge, PullRequest
    from trunkline.retrain.labelled import Proposal
    from trunkline.serve.labelling.settle import Agreement
    from trunkline.serve.labels.file import OutcomesFile


def propose(  # noqa: PLR0913  what is proposed, where, and how far
    root: Path,
    source: str,
    file: "OutcomesFile",
    agreement: "Agreement",
    trunk: str,
    *,
    local: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Propose it, print what was done, and return the exit code: 1 where something stays without an outcome."""
    from trunkline.adapters.git import remote
    from trunkline.retrain import labelled

    forge = None if local or dry_run else forges.forge_or_local()
    tip = remote.fetch(root, trunk, os.environ).tip
    of = labelled.accepted(file, datetime.now(UTC))
    proposal = labelled.prepare(root, tip, source, of, agreement)
    code = 1 if of.refused or agreement.conflicts else 0
    if proposal is None:
        output.answer({"what": "already", "source": source}, f"{source} has these {of.rows.height:,} already", as_json)
        return code
    facts = {"branch": proposal.branch, "file": proposal.path.as_posix(), "rows": proposal.rows}
    facts |= {"agreement": vars(agreement), "refused": dict(of.refused)}
    if dry_run:
        text = f"{proposal.diff}\n{proposal.title}\n\n{proposal.body}".rstrip()
        output.answer({"what": "dry run", **facts, "diff": proposal.diff, "body": proposal.body}, text, as_json)
    elif forge is None:
        commit = _local(root, proposal)
        push = f"run: git push origin {proposal.branch}, and open a pull request"
        text = f"{proposal.branch}: {commit[:10]} {proposal.title}\n{push}"
        output.answer({"what": "local", **facts, "commit": commit}, text, as_json)
    else:
        commit, pull = _publish(root, proposal, trunk, forge)
        text = f"#{pull.number} {proposal.title}\n{pull.url}"
        output.answer({"what": "opened", **facts, "commit": commit, **vars(pull)}, text, as_json)
    return code


def _local(root: Path, proposal: "Proposal") -> str:
    from trunkline.adapters.git import remote, repository
    from trunkline.retrain import labelled

    here = repository.resolve(root, f"refs/heads/{proposal.branch}")
    commit = labelled.committed(root, proposal, here)
    remote.branch(root, proposal.branch, commit, here)
    return commit


def _publish(root: Path, proposal: "Proposal", trunk: str, forge: "Forge") -> "tuple[str, PullRequest]":
    """Push the branch and open its pull request, unless they are there; return the commit, and the pull request."""
    from trunkline.adapters import pulls
    from trunkline.adapters.git import remote
    from trunkline.retrain import labelled

    theirs = remote.fetch_branch(root, proposal.branch, os.environ)
    commit = labelled.committed(root, proposal, theirs)
    wanted = pulls.Wanted(proposal.branch, trunk, proposal.title, proposal.body)
    origin = pulls.Origin(root, os.environ, forge, partial(click.echo, err=True))
    return commit, pulls.publish(origin, commit, wanted, theirs or "")
