"""Puts a retraining where it is to be: a branch here, or a branch of origin and its pull request, with the results."""

from dataclasses import dataclass, replace
from functools import partial

from trunkline.adapters import checkouts, pulls
from trunkline.adapters.dvc import reproduce
from trunkline.adapters.forge import api
from trunkline.adapters.forge.api import Forge
from trunkline.adapters.git import remote, repository
from trunkline.adapters.pulls import Origin, Wanted
from trunkline.core import durations
from trunkline.retrain import attempt, causes, result, text
from trunkline.retrain.propose import Proposal, Where
from trunkline.retrain.result import Result
from trunkline.retrain.text import Words


@dataclass(frozen=True)
class Done:
    """The commit that the branch has now, whether its results are there, and the pull request, if one is open.

    `no_help` is a comment that says why the gates do not let it pass, "" where they do, or are not known.
    """

    commit: str
    computed: bool
    number: int | None = None
    url: str = ""
    merged: bool = False
    no_help: str = ""


def run(where: Where, proposal: Proposal) -> Proposal:
    """Run the pipeline on a proposal, in a checkout, and return it with the results as its commit, on no branch yet.

    Nothing is run where the branch has them, or a person has changed or closed it. Raises OutsideError where the
    pipeline fails, or the results cannot be pushed to DVC's remote, which they are unless it is `local`.
    """
    if proposal.computed or proposal.settled:
        return proposal
    commit = proposal.commit or _committed(where, proposal)
    cache = checkouts.cache_folder(where.root)
    with checkouts.results(where.root, commit, cache, where.tell) as folder:
        if not where.local:
            reproduce.share(folder)
        reproduce.commit(folder)
        for stage, seconds in durations.read(folder).items():
            durations.write(where.root, stage, seconds)
        return replace(proposal, commit=repository.head(folder), computed=True)


def local(where: Where, proposal: Proposal) -> Done:
    """Commit to the local branch, which is not checked out, unless it has it.

    Raises UserError where the branch moves meanwhile.
    """
    commit = proposal.commit or _committed(where, proposal)
    if commit != proposal.branch.tip:
        remote.branch(where.root, proposal.branch.name, commit, proposal.branch.tip)
    return Done(commit, proposal.computed)


def publish(where: Where, forge: Forge, proposal: Proposal) -> Done:
    """Push the branch and open the pull request, unless they exist, and bring its text up to date.

    It merges by itself where conf/deploy says so, the gates let it, and nobody has changed it. Raises OutsideError
    where the remote or the forge fails; it may be called again.
    """
    commit, branch = proposal.commit or _committed(where, proposal), proposal.branch
    if proposal.settled and (branch.pull is None or branch.pull.state != "open"):
        return Done(commit, proposal.computed)
    wanted = Wanted(branch.name, where.trunk, proposal.title, body(where, proposal))
    origin = Origin(where.root, where.environ, forge, where.tell)
    if proposal.settled:
        pull = pulls.describe(origin, wanted)
    else:
        pull = pulls.publish(origin, commit, wanted, branch.tip or "")
    came = _came(where, proposal)
    no_help = "" if came is None or came.helps else text.no_help_comment(proposal.key, came, pull.number)
    merges = proposal.automatic and not no_help and not proposal.settled
    merged = merges and api.retried(partial(forge.merge_when_ready, pull.number, commit), where.tell)
    return Done(commit, proposal.computed, pull.number, pull.url, merged, no_help)


def say_no_help(where: Where, forge: Forge, done: Done) -> None:
    """Say on the pull request, once, why the gates do not let it pass; nothing where they do."""
    number, mark = done.number, done.no_help.partition("\n")[0]
    if number is None or not mark:
        return

    def say() -> None:
        me = forge.me()
        if not any(each.author == me and each.body.startswith(mark) for each in forge.comments(number)):
            forge.create_comment(number, done.no_help)

    api.retried(say, where.tell)


def body(where: Where, proposal: Proposal) -> str:
    """Return the text of the pull request, with the causes that it lists already."""
    pull = proposal.branch.pull
    why = causes.listed(proposal.causes, pull.body if pull and pull.state == "open" else "")
    changed, came = proposal.step == "a person's", _came(where, proposal)
    return text.body(Words(proposal.name, why, proposal.change, proposal.report, came, changed))


def _came(where: Where, proposal: Proposal) -> Result | None:
    """Return what the pipeline has made of a proposal; None while it has not run on it."""
    if not proposal.computed or proposal.commit is None:
        return None
    return result.read(where.root, proposal.base, proposal.commit)


def _committed(where: Where, proposal: Proposal) -> str:
    """Return a commit of the proposal on the trunk's tip, which no branch has yet."""
    blobs = {path: remote.blob(where.root, content) for path, content in proposal.change.new.items()}
    why = "\n".join(cause.plain for cause in proposal.causes)
    message = f"{proposal.title}\n\n{why}\n\n{attempt.trailers(proposal.change, blobs)}\n"
    return remote.commit_files(where.root, proposal.base, blobs, message)
