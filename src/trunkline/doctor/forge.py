"""Whether the forge answers to this token, and what it enforces on the trunk and on the tags of versions."""

from collections.abc import Iterator

from trunkline.adapters.forge import connect
from trunkline.adapters.forge.api import Forge
from trunkline.adapters.git import ancestry
from trunkline.core.errors import TrunklineError, UserError
from trunkline.core.params import Params
from trunkline.doctor.findings import Finding, Setup, State, absent, refused, works
from trunkline.lineage.audit import gather, judge
from trunkline.lineage.audit.judge import Guard
from trunkline.show.text import clean

SHOWN = 3  # paths without an owner
AGAIN = "see that the environment names the right forge, and try again later"


def check(setup: Setup) -> Iterator[Finding]:
    """Ask the forge that the environment names who this is, and list the guards that an audit lists."""
    try:
        forge = connect.named(setup.environ)
        login = forge.me() if forge else ""
    except TrunklineError as error:
        yield refused("forge", error, AGAIN)
        return
    if forge is None:
        yield _unnamed(setup)
    else:
        yield works("forge", f"{_named(setup)}: the token is that of {login}")
    if setup.is_project:
        yield from _guards(setup, forge) if forge else ()
        yield from _owners(setup, enforced=forge is not None)


def _named(setup: Setup) -> str:
    names = connect.GITHUB if setup.environ.get(connect.GITHUB[1]) else connect.GITLAB
    return f"{names[1]}={setup.environ.get(names[1])}"


def _unnamed(setup: Setup) -> Finding:
    for _, repository, token in (connect.GITHUB, connect.GITLAB):
        if setup.environ.get(repository):
            return absent("forge", f"{repository} is set, {token} is not", f"set {token} to a token that may read it")
    advice = f"set {' and '.join(connect.GITHUB[1:])}, or {', '.join(connect.GITLAB[:2])} and {connect.GITLAB[2]}"
    return absent("forge", "the environment names none: promotions and audits need one", advice)


def _guards(setup: Setup, forge: Forge) -> Iterator[Finding]:
    try:
        reported = forge.guards(setup.trunk, f"{Params.read(setup.root).name}@v1")
    except TrunklineError as error:
        yield refused("guards", error, AGAIN)
        return
    yield from map(_finding, judge.guards(reported, None))


def _finding(guard: Guard) -> Finding:
    states: dict[bool | None, State] = {True: "works", False: "fails", None: "not known"}
    advice = "" if guard.answer else guard.remedy
    return Finding(states[guard.answer], f"guard: {guard.name}", clean(guard.detail), advice)


def _owners(setup: Setup, *, enforced: bool) -> Iterator[Finding]:
    """Tell whether CODEOWNERS covers what decides and judges; without a forge nobody asks the owners."""
    try:
        guards = gather.owned(setup.root, ancestry.trunk(setup.root, setup.trunk).tip)
    except UserError:  # what is wrong with the trunk is reported with git
        return
    without = [guard for guard in guards if not guard.answer]
    what = "guard: code owners"
    if not without:
        yield works(what, f"each of {len(guards)} paths that decide or judge has an owner")
        return
    paths = ", ".join(guard.name.removesuffix(" has an owner") for guard in without[:SHOWN])
    more = f" and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
    detail = f"{len(without)} of {len(guards)} paths have no owner: {paths}{more}"
    yield Finding("fails" if enforced else "not set up", what, detail, without[0].remedy)
