"""A Python for jobs, whose environments fork: a script that is started there has its libraries already.

An environment is made and filled by locks/install, as in every job; but then its `python` gives scripts, which are the
verbs and the stages, to the fork server of the tests, and does everything else itself.
"""

from pathlib import Path

from tests.forkserver import commands
from tests.rig import packages

# Not an option, so a script: `exec -a` lets Python find the environment that it stands in.
ENVIRONMENT = """#!/bin/bash
case "${{1:--}}" in
-*) exec -a "$0" {python} "$@" ;;
*) exec {forked} "$@" ;;
esac
"""
MAKER = """#!/bin/bash
{python} "$@" || exit
[ "$1 $2" != "-m venv" ] || cp --remove-destination {environment} "${{!#}}/bin/python"
"""


def python(folder: Path) -> str:
    """Return the path of such a Python, which is written into a new folder."""
    folder.mkdir(parents=True)
    maker, environment, own = folder / "python3", folder / "environment", packages.python()
    environment.write_text(ENVIRONMENT.format(python=own, forked=commands() / "python"), encoding="utf-8")
    maker.write_text(MAKER.format(python=own, environment=environment), encoding="utf-8")
    for path in (maker, environment):
        path.chmod(0o755)
    return str(maker)
