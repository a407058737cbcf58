"""Whether DVC opens the project, its remote can be read, and the cache has what dvc.lock names."""

from collections.abc import Iterator

from trunkline.adapters.dvc import project
from trunkline.adapters.dvc.project import Storage
from trunkline.core.errors import TrunklineError
from trunkline.doctor.findings import Finding, Setup, absent, fails, refused, works


def check(setup: Setup) -> Iterator[Finding]:
    """Look at DVC's repository, its default remote and its cache."""
    try:
        storage = project.storage(setup.root)
    except TrunklineError as error:
        yield refused("DVC", error, "correct .dvc/config, dvc.yaml or dvc.lock, which DVC refuses")
        return
    yield works("DVC", "opens the project")
    yield _remote(storage)
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


def _cache(storage: Storage) -> Finding:
    detail = f"has {storage.cached} of the {storage.outputs} outputs that dvc.lock names"
    if storage.cached == storage.outputs:
        return works("cache", detail)
    pull = " --pull" if storage.remote is not None and storage.unreadable is None else ""
    return absent("cache", detail, f"run: dvc repro{pull}, which brings or makes the rest")
