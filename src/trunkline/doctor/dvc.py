"""Whether DVC opens the project, its remote can be read, and the cache has what dvc.lock names."""

from collections.abc import Iterator

from trunkline.adapters.dvc import project
from trunkline.adapters.dvc.project import Sse, Storage
from trunkline.core.errors import TrunklineError
from trunkline.doctor.findings import Finding, Setup, absent, fails, refused, works

_KMS = ("aws:kms", "aws:kms:dsse")


def check(setup: Setup) -> Iterator[Finding]:
    """Look at DVC's repository, its default remote and its cache."""
    try:
        storage = project.storage(setup.root)
    except TrunklineError as error:
        yield refused("DVC", error, "correct .dvc/config, dvc.yaml or dvc.lock, which DVC refuses")
        return
    yield works("DVC", "opens the project")
    yield _remote(storage)
    if storage.remote is not None and storage.sse is not None:
        yield _encryption(storage.remote, storage.sse)
    yield _cache(storage)


def _remote(storage: Storage) -> Finding:
    if storage.remote is None:
        detail = "no default remote is declared: nobody else has the data and the models"
        return absent("remote", detail, "run: dvc remote add --default store ADDRESS")
    if storage.unreadable is not None:
        advice = (
            "correct the address (dvc remote modify), or give this machine credentials (dvc remote modify --local); if "
            "the remote is new and empty, run: dvc push"
        )
        return fails("remote", f"{storage.remote} at {storage.address} cannot be read: {storage.unreadable}", advice)
    return works("remote", f"{storage.remote} at {storage.address} can be read")


def _encryption(remote: str, sse: Sse) -> Finding:
    """Tell whether objects of a remote in S3 are written encrypted, by a key that git does not have."""
    modify = f"dvc remote modify {remote} sse"
    if sse.committed:
        advice = (
            f"take it as known: make another one; run: {modify}_customer_key --unset, and: dvc remote modify --local "
            f"{remote} sse_customer_key KEY"
        )
        return fails("encryption", f"{remote}: .dvc/config, which git has, holds sse_customer_key itself", advice)
    if sse.customer:
        return works("encryption", f"{remote}: objects are written with a key that only this machine's settings have")
    if sse.how is None and sse.key_id is None:
        detail = f"{remote}: .dvc/config asks for none, so that the bucket's default decides"
        return absent("encryption", detail, f"run: {modify} aws:kms, or: {modify} AES256")
    if sse.how not in (*_KMS, "AES256") or (sse.key_id is not None and sse.how not in _KMS):
        detail = f"{remote}: sse is {sse.how}{' beside sse_kms_key_id' if sse.key_id else ''}, which S3 refuses"
        return fails("encryption", detail, f"run: {modify} aws:kms, or without a key's id: {modify} AES256")
    key = f", key {sse.key_id}" if sse.key_id else ""
    return works("encryption", f"{remote}: objects are written with {sse.how}{key}")


def _cache(storage: Storage) -> Finding:
    detail = f"has {storage.cached} of the {storage.outputs} outputs that dvc.lock names"
    if storage.cached == storage.outputs:
        return works("cache", detail)
    pull = " --pull" if storage.remote is not None and storage.unreadable is None else ""
    return absent("cache", detail, f"run: dvc repro{pull}, which brings or makes the rest")
