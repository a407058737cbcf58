"""Whether signatures can be made and verified here, and whose are believed."""

from collections.abc import Iterator, Mapping

from trunkline.conf.deploy import Deploy
from trunkline.conf.signers import Key, Keyless
from trunkline.core.errors import TrunklineError, UserError
from trunkline.core.params import Params
from trunkline.doctor.findings import Finding, Setup, absent, fails, refused, works
from trunkline.release import signing

_DECLARE = (
    "by a pull request, declare a key's public half, or a workflow, under {} in conf/deploy: "
    "docs/setup-github.md of the framework"
)

_KEY = f"set {signing.KEY} to a private key in PEM, or to its file: docs/release.md of the framework"


def check(setup: Setup) -> Iterator[Finding]:
    """Look at the libraries, at what conf/deploy declares, and at the key of the environment."""
    try:
        signing.installed()
    except UserError as error:
        finding = refused("signing", error, "install the extra `sign`")
        yield finding if setup.environ.get(signing.KEY) else absent("signing", finding.detail, finding.advice)
        return
    yield works("signing", "the libraries of the extra `sign` are installed")
    if not setup.is_project:
        return
    try:
        deploy = Params.read(setup.root).group(Deploy)
    except TrunklineError as error:
        yield refused("signers", error, "run: trunkline compose")
        return
    yield _declared("signers", "no release is believed", deploy.signers)
    yield _declared("recorders", "no record of a stage is believed, so that every stage runs again", deploy.recorders)
    yield _key(setup.environ, {**deploy.signers, **deploy.recorders})


def _declared(what: str, otherwise: str, declared: Mapping[str, Key | Keyless]) -> Finding:
    if not declared:
        return absent(what, f"conf/deploy declares none: {otherwise}", _DECLARE.format(what))
    return works(what, f"conf/deploy declares {', '.join(sorted(declared))}")


def _key(environ: Mapping[str, str], declared: Mapping[str, Key | Keyless]) -> Finding:
    if not environ.get(signing.KEY):
        detail = f"{signing.KEY} is not set, which only who releases or records needs"
        return absent("signing key", detail, _KEY)
    try:
        name = signing.holder(environ, declared)
    except TrunklineError as error:
        return refused("signing key", error, _KEY)
    if name is None:
        detail = f"{signing.KEY} is a key whose public half conf/deploy does not declare"
        return fails("signing key", detail, _DECLARE.format("signers or recorders"))
    return works("signing key", f"{signing.KEY} is that of {name}")
