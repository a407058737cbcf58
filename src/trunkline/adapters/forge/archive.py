"""Reads one file from an archive that someone else's run has left: into memory, within a limit.

Nothing is extracted, so the names in the archive lead nowhere. Its headers are not believed: the file is counted while
it is unpacked.
"""

import io
import zipfile
import zlib

from trunkline.core.errors import UserError

STEP = 65_536
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack as much as they like in one step


def member(archive: bytes, name: str, limit: int) -> bytes:
    """Return the content of the one file of this name; raises UserError for none, or one beyond the limit."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            members = [info for info in opened.infolist() if info.filename == name]
            if len(members) != 1:
                raise UserError(f"artifact: has {len(members)} files named {name}, not one")
            return _read(opened, members[0], limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError):
        raise UserError(f"artifact: is no zip archive from which {name} can be read") from None


def _read(opened: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    if info.compress_type not in METHODS:
        raise UserError(f"artifact: {info.filename} is packed by method {info.compress_type}, which no forge uses")
    content = bytearray()
    with opened.open(info) as packed:
        while step := packed.read(STEP):
            content += step
            if len(content) > limit:
                raise UserError(f"artifact: {info.filename} has more than {limit:,} bytes")
    return bytes(content)
