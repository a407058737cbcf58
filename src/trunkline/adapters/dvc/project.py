"""A project as DVC opens it: its default remote, whether that can be read, and what the cache has of dvc.lock."""

import re
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.adapters.dvc import cache
from trunkline.adapters.dvc.parses import kept_parses
from trunkline.adapters.dvc.private import DvcException, NotDvcRepoError, Repo
from trunkline.core.addresses import shown
from trunkline.core.errors import OutsideError, TrunklineError, UserError, one_line


@dataclass(frozen=True)
class Storage:
    """Where a project's outputs are: the default remote, None where none is declared, and the cache.

    `address` is fit to be shown, `unreadable` is why the remote cannot be read, None where it can. `outputs` is how
    many outputs dvc.lock names, and `cached` how many of these the cache has. `sse` is how a remote in S3 is asked to
    encrypt, None of any other remote.
    """

    remote: str | None
    address: str
    unreadable: str | None
    outputs: int
    cached: int
    sse: "Sse | None" = None


@dataclass(frozen=True)
class Sse:
    """What S3 is asked to encrypt by: `how`, such as aws:kms, and the id of the key; None leaves it to the bucket.

    `customer` says that a key itself is given, sse_customer_key, and `committed` that it is in the file that git has.
    """

    how: str | None
    key_id: str | None
    customer: bool
    committed: bool


def storage(root: Path) -> Storage:
    """Look into the remote and the cache; writes nothing to either. Raises as `opened` does."""
    with opened(root) as repo:
        name = repo.config["core"].get("remote")
        url = str(repo.config["remote"].get(name, {}).get("url", "")) if name else ""
        reason = unreadable(repo) if name else None
        hashes = [out.hash_info.value for out in repo.index.outs if out.use_cache and out.hash_info]
        held = sum(cache.holds(root, value) for value in hashes)
        reason = reason and reason.replace(url, shown(url))
        return Storage(name, shown(url), reason, len(hashes), held, _sse(repo, name) if url.startswith("s3:") else None)


def _sse(repo: Any, name: str) -> Sse:
    """Return how the remote of a name, which is in S3, encrypts."""
    settings = repo.config["remote"][name]
    committed = repo.config.load_one("repo").get("remote", {}).get(name, {})
    given = [bool(each.get("sse_customer_key")) for each in (settings, committed)]
    return Sse(settings.get("sse"), settings.get("sse_kms_key_id"), *given)


def has_remote(repo: Any) -> bool:
    """Tell whether a repository of DVC declares a default remote."""
    return bool(repo.config["core"].get("remote"))


def unreadable(repo: Any) -> str | None:
    """Return why the default remote cannot be read, None where it can: nobody may see it, or nothing is there."""
    try:
        remote = repo.cloud.get_remote(None, "reproduce")
        remote.fs.ls(remote.path)
    except Exception as error:  # the library of every kind of storage has its own
        return one_line(error)
    return None


@contextmanager
def opened(root: Path) -> Iterator[Any]:
    """Open a project with its folder as the working directory.

    Raises UserError for a folder that is no project's root, and what DVC refuses as `explained` says it.
    """
    try:
        with chdir(root), kept_parses(), Repo() as repo:
            yield repo
    except NotDvcRepoError:
        raise UserError(f"{root.resolve()} is not the root of a project: there is no .dvc; change to it") from None
    except DvcException as error:
        raise explained(error) from None


def explained(error: Exception) -> TrunklineError:
    """Return the error with the exit code of the stage that failed; it has said why itself."""
    reason = one_line(error.__cause__ or error)
    status = re.search(r"exited with (\d+)$", reason)
    message = f"{one_line(error)}: {reason}" if error.__cause__ else reason
    return UserError(message) if status and status[1] == str(UserError.exit_code) else OutsideError(message)
