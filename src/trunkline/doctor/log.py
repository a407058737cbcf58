"""Whether the environment has the keys by which the prediction log is encrypted at rest."""

import stat
from collections.abc import Iterator

from trunkline.conf.serving import Serving
from trunkline.core.errors import TrunklineError, UserError
from trunkline.core.params import Params, dig
from trunkline.doctor.findings import Finding, Setup, absent, fails, refused, works
from trunkline.serve.prediction_log import sealed

_NEW = "make it with: openssl rand -base64 32"


def check(setup: Setup) -> Iterator[Finding]:
    """Look at each variable of serving.log.encrypt; a project without a log is not asked for one."""
    try:
        params = Params.read(setup.root)
        log = params.group(Serving).log if dig(params.content, Serving.key, "log") else None
    except TrunklineError as error:
        yield refused("log", error, "run: trunkline compose")
        return
    if log is None:
        return
    if log.encrypt is None:
        detail = "conf/serving declares no key: its files are plain, but for what the disk or the bucket encrypts"
        yield absent("log", detail, "declare serving.log.encrypt: docs/prediction-log.md of the framework")
        return
    holders: dict[bytes, str] = {}
    for variable, declared in [(log.encrypt.key, "key"), *((name, "before") for name in log.encrypt.before)]:
        yield _key(setup, variable, declared, holders)


def _key(setup: Setup, variable: str, declared: str, holders: dict[bytes, str]) -> Finding:
    """Judge what a variable holds beside the variables that were looked at before, by their keys, and add it."""
    what, of = f"log key {variable}", "new files" if declared == "key" else "older files"
    if not setup.environ.get(variable, "").strip():
        return absent(
            what, f"{variable} is not set, the key of {of}", _NEW if declared == "key" else "set it to read them"
        )
    try:
        key = sealed.key_in(variable, declared, setup.environ)
    except UserError as error:
        return refused(what, error, _NEW)
    if (other := holders.setdefault(key, variable)) != variable:
        detail = f"{variable} holds the very key of {other}, which was to be changed"
        return fails(what, detail, f"put a new key into {other}, or take {variable} out of serving.log.encrypt.before")
    file = sealed.file_in(variable, setup.environ)
    if file is not None and file.stat().st_mode & stat.S_IROTH:
        return fails(what, f"everybody on this machine can read {file}, which holds it", f"run: chmod o-rwx {file}")
    return works(what, f"{variable} holds the key of {of}")
