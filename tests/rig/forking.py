"""A Python for jobs, whose environments fork: a script that is started there has its libraries already.

An environment is made by locks/install, as in every job; but its `python` gives scripts, which are the verbs and the
stages, to the fork server of the tests, and does everything else itself. Where the job's lock is that of this tree, its
packages can be there already, as links to one environment: of 44,000 files and folders, uv has to make none.
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
[ "$1 $2" = "-m venv" ] || exit 0
cp --remove-destination {environment} "${{!#}}/bin/python"
! cmp --silent locks/ci.txt {lock} || cp --archive --link {filled}/. "${{!#}}"
"""


def python(folder: Path, installed: Path | None = None) -> str:
    """Return the path of such a Python, which is written into a new folder; `installed` has what the lock lists."""
    folder.mkdir(parents=True)
    maker, environment, filled, own = folder / "python3", folder / "environment", folder / "filled", packages.python()
    filled.mkdir()
    if installed is not None:
        packages.link(installed, filled)
    environment.write_text(ENVIRONMENT.format(python=own, forked=commands() / "python"), encoding="utf-8")
    script = MAKER.format(python=own, environment=environment, lock=packages.LOCK, filled=filled)
    maker.write_text(script, encoding="utf-8")
    for path in (maker, environment):
        path.chmod(0o755)
    return str(maker)
