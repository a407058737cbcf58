"""Installs a distribution of files, as pip would, into a folder that Python then looks into."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, files: Mapping[str, bytes]) -> None:
    """Install some-tables 1.0: its files, and a RECORD with their checksums."""
    record = []
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(content)}\n")
    information = folder / "some_tables-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: some-tables\nVersion: 1.0\n")
    (information / "RECORD").write_text("".join(record))
