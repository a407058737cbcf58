"""Files by their names below a folder, of the project or elsewhere, each with the sha256 that conf/data has pinned."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.conf.data.sources import HTTP, Files
from trunkline.core import paths
from trunkline.core.addresses import shown
from trunkline.core.errors import UserError
from trunkline.pipeline.ingest import decode
from trunkline.pipeline.ingest.decode import File

if TYPE_CHECKING:
    from trunkline.pipeline.ingest.download import Remote


# Libraries for what is elsewhere are imported where a source is: files of the project need none.


def fetch(name: str, source: Files) -> Iterator[File]:
    """Yield the pinned files of a source in the order of their names.

    Raises UserError for a file that is missing, has no pin or another content, OutsideError if it does not arrive.
    """
    key = f"data.sources.{name}.files"
    if not source.files:
        raise UserError(f"{key}: no file is pinned; run: trunkline pin {name}")
    for file, pinned in sorted(source.files.items()):
        if pinned is None:
            raise UserError(f"{key}: {file}: has no sha256; run: trunkline pin {name}")
        content = locate(source, file, pinned).read_bytes()
        fetched = File(shown(source.url + file), content, decode.partition(file))
        if (digest := hashlib.sha256(fetched.content).hexdigest()) != pinned:
            raise UserError(
                f"{fetched.name}: is not what {key} has pinned: its sha256 is {digest}; "
                f"if it was changed on purpose, write that, or run: trunkline pin {name}"
            )
        yield fetched


def locate(source: Files, file: str, pinned: str | None = None) -> Path:
    """Return where a file of a source is on this machine, after downloading it if it is elsewhere.

    A download has any content, not only the pinned one: the caller compares.
    """
    url = source.url
    if "://" not in url:
        path = Path(url + file)
        if not paths.inside(path):
            raise UserError(f"{url}{file}: leads out of the project; copy the file into it")
        if not path.is_file():
            raise UserError(f"{url}{file}: there is no such file; put it there, or fix its name in conf/data")
        return path
    from trunkline.pipeline.ingest import download

    folder = paths.home(Path.cwd()) / paths.DOWNLOADS
    return download.fetch(_remote(source, url + file), pinned, folder)


def names(name: str, source: Files) -> list[str]:
    """Return the files that a source has now: what its glob finds, else those that are declared.

    Raises UserError where the glob finds none.
    """
    if source.glob is None:
        return sorted(source.files)
    if "://" in source.url:
        from trunkline.pipeline.ingest import stores

        matching = stores.listed(source.url, source.glob, source.private_hosts)
    else:
        matching = sorted(
            path.relative_to(source.url).as_posix() for path in Path(source.url).glob(source.glob) if path.is_file()
        )
    if not matching:
        raise UserError(
            f"data.sources.{name}.glob: '{source.glob}' finds no file in {shown(source.url)}; fix one of them"
        )
    return matching


def _remote(source: Files, address: str) -> "Remote":
    if source.url.partition("://")[0] not in HTTP:
        from trunkline.pipeline.ingest import stores

        return stores.remote(address, source.private_hosts)
    try:
        from trunkline.pipeline.ingest import http
    except ModuleNotFoundError:
        raise UserError(f"{shown(address)}: needs requests; run: pip install 'trunkline[http]'") from None
    return http.remote(address, source.private_hosts)
