"""Small files beside the objects of DVC's remote, which DVC itself neither reads nor deletes; and objects by hash."""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trunkline.adapters.dvc.private import Config, Repo
from trunkline.core.errors import OutsideError, UserError, one_line

LIMIT = 1_000_000  # bytes
_WRITTEN = ("LastModified", "last_modified", "updated", "mtime")  # as S3, Azure, Google and files say it
OBJECT = 1_000_000_000  # bytes
_PLAIN, _MD5 = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"), re.compile(r"[0-9a-f]{32}")
# What the configuration of a project of others may say: nothing that names a file, a user or a program of this machine.
_OF_OTHERS = {
    "core": {"remote", "analytics", "autostage", "check_update"},
    "remote": {"url", "endpointurl", "region", "account_name", "projectname", "allow_anonymous_login", "jobs"},
}


@dataclass(frozen=True)
class RemoteFiles:
    """The remote's root, by its own kind of storage."""

    fs: Any
    root: str

    def read(self, path: str, limit: int = LIMIT) -> bytes | None:
        """Return a file of at most so many bytes; None where there is none, or one that is larger.

        Raises OutsideError where the remote fails.
        """
        try:
            with self.fs.open(self.fs.join(self.root, *path.split("/")), "rb") as file:
                content = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except Exception as error:  # the library of every kind of storage has its own
            raise OutsideError(f"the remote cannot be read: {one_line(error)}") from None
        return bytes(content) if len(content) <= limit else None

    def object(self, md5: str) -> bytes:
        """Return what DVC has stored under a hash, which its bytes have; raises OutsideError where that is not there.

        Nothing of the project's configuration but the remote is asked, so that no commit decides what is read.
        """
        content = self.read(f"files/md5/{md5[:2]}/{md5[2:]}", OBJECT)
        if content is None:
            raise OutsideError(f"the remote has no object {md5}, or one beyond {OBJECT:,} bytes; run: dvc push")
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.removesuffix(".dir"):
            raise OutsideError(f"the remote's object {md5} has other bytes than its name says; delete it, and dvc push")
        return content

    def written(self, md5: str) -> datetime | None:
        """Return when an object was written (UTC), the first moment of all where the store does not say.

        None where there is no such object; raises OutsideError where the remote fails.
        """
        try:
            about = self.fs.info(self.fs.join(self.root, "files", "md5", md5[:2], md5[2:]))
        except FileNotFoundError:
            return None
        except Exception as error:  # the library of every kind of storage has its own
            raise OutsideError(f"the remote cannot be read: {one_line(error)}") from None
        said = next((about[key] for key in _WRITTEN if about.get(key) is not None), None)
        if isinstance(said, int | float):
            return datetime.fromtimestamp(said, UTC)
        if isinstance(said, str):
            said = datetime.fromisoformat(said)
        return said.astimezone(UTC) if isinstance(said, datetime) else datetime.min.replace(tzinfo=UTC)

    def write(self, path: str, content: bytes) -> None:
        """Write a file, as a whole or not at all; raises OutsideError where the remote fails."""
        try:
            self.fs.upload_fobj(io.BytesIO(content), self.fs.join(self.root, *path.split("/")))
        except Exception as error:  # the library of every kind of storage has its own
            raise OutsideError(f"the remote cannot be written to: {one_line(error)}") from None


def folder(md5: str, read: Callable[[str], bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file of a folder that DVC has hashed, as `read` gives what has a hash.

    Raises UserError for a folder with anything but plain files: whoever writes its list names the files.
    """
    for item in json.loads(read(md5)):
        name, of = str(item["relpath"]), str(item["md5"])
        if not _PLAIN.fullmatch(name) or not _MD5.fullmatch(of):
            raise UserError(f"the folder {md5} has what is no plain file; build it again")
        yield name, read(of)


@contextmanager
def opened(project: Path, commit: str | None = None) -> Iterator[RemoteFiles]:
    """Open the default remote of a project; raises UserError where it has none.

    It is the one that the working tree declares, whichever commit's objects are read. A bare clone has none, and there
    it is that of `commit`.
    """
    rev = None if (project / ".dvc").is_dir() else commit
    with Repo(str(project), rev=rev) as repo:
        if not repo.config["core"].get("remote"):
            raise UserError("there is no DVC remote; run: dvc remote add --default …")
        remote = repo.cloud.get_remote(None, "record")
        yield RemoteFiles(remote.fs, remote.path)


def refuse_foreign(project: Path) -> None:
    """Raise UserError where the configuration of others' project could have this machine read a file or run a program.

    DVC takes from it, among others, files of credentials, which may name a command that makes them.
    """
    path = project / ".dvc" / "config"
    config = Config.load_file(str(path)) if path.is_file() else {}
    parts = [("core", config.pop("core", {})), *(("remote", each) for each in config.pop("remote", {}).values())]
    keys = {f"{section}.{key}" for section, part in parts for key in part if key not in _OF_OTHERS[section]}
    if wrong := sorted(keys.union(key for key, part in config.items() if part)):
        raise UserError(f".dvc/config of its repository has {', '.join(wrong)}; have it say where its remote is, alone")
