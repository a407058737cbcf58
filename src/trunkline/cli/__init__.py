"""The command line: `trunkline VERB`, and under `trunkline ci` what only workflows call."""

import gc
import os
import sys

import click

from trunkline import __version__
from trunkline.cli.commands import Commands, exit_code

COMMANDS = {
    "attribute": "trunkline.cli.attribute:attribute",
    "audit": "trunkline.cli.audit:audit",
    "ci": "trunkline.cli.ci:ci",
    "compose": "trunkline.cli.compose:compose",
    "dashboard": "trunkline.cli.dashboard:dashboard",
    "doctor": "trunkline.cli.doctor:doctor",
    "dossier": "trunkline.cli.dossier:dossier",
    "erase": "trunkline.cli.erase:erase",
    "export": "trunkline.cli.export:export",
    "federate": "trunkline.cli.federate:federate",
    "gate": "trunkline.cli.gate:gate",
    "init": "trunkline.cli.init:init",
    "key": "trunkline.cli.key:key",
    "labels": "trunkline.cli.labels:labels",
    "lineage": "trunkline.cli.lineage:lineage",
    "log": "trunkline.cli.log:log",
    "materialize": "trunkline.cli.materialize:materialize",
    "monitor": "trunkline.cli.monitor:monitor",
    "pin": "trunkline.cli.pin:pin",
    "plan": "trunkline.cli.plan:plan",
    "predict": "trunkline.cli.predict:predict",
    "privacy": "trunkline.cli.privacy:privacy",
    "promote": "trunkline.cli.promote:promote",
    "push": "trunkline.cli.push:push",
    "reconcile": "trunkline.cli.reconcile:reconcile",
    "release": "trunkline.cli.release:release",
    "render": "trunkline.cli.render:render",
    "replay": "trunkline.cli.replay:replay",
    "report": "trunkline.cli.report:report",
    "retrain": "trunkline.cli.retrain:retrain",
    "review": "trunkline.cli.review:review",
    "rollback": "trunkline.cli.rollback:rollback",
    "rollout": "trunkline.cli.rollout:rollout",
    "sample": "trunkline.cli.sample:sample",
    "sbom": "trunkline.cli.sbom:sbom",
    "score": "trunkline.cli.score:score",
    "serve": "trunkline.cli.serve:serve",
    "status": "trunkline.cli.status:status",
    "stream": "trunkline.cli.stream:stream",
    "trace": "trunkline.cli.trace:trace",
    "upgrade": "trunkline.cli.upgrade:upgrade",
    "verify": "trunkline.cli.verify:verify",
}

_YOUNG = 300_000  # objects until unreachable ones are looked for: imports make many, and none of those

EPILOG = """\b
Exit codes, the same for every command:
  0  yes, done
  1  the answer is no: a gate failed, a difference was found
  2  what you wrote is wrong: a config, a data file, the command line
  3  something outside failed: a remote, a server, the file system
"""


@click.group(cls=Commands, commands=COMMANDS, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def trunkline() -> None:
    """Production is whatever the trunk says it is: declare, reproduce, measure and ship a model from git."""


def main() -> None:
    """Run the command line; a known error is one line on stderr and its exit code."""
    gc.set_threshold(_YOUNG)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else all that is installed is looked through for one
    code = exit_code(lambda: trunkline.main(prog_name="trunkline", standalone_mode=False))
    _end_soon()
    sys.exit(code)


def _end_soon() -> None:
    """Have Python not look through all objects on its way out, which ends with the process anyway."""
    gc.disable()  # of its collections, the one before modules are cleared
    if "duckdb" not in sys.modules:  # whose binding reports objects that are left
        gc.freeze()  # and those after
