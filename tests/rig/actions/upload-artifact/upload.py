"""Zips the files that an artifact names and hands them to the stand-in; the run's own token says which run it is."""

import hashlib
import io
import os
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path


def chosen(patterns: list[str], *, hidden: bool) -> list[Path]:
    """Return the files that the patterns name, a folder standing for all that is in it."""
    found = [path for pattern in patterns for path in Path().glob(pattern.strip().removeprefix("./").rstrip("/"))]
    files = [item for path in found for item in (path.rglob("*") if path.is_dir() else [path]) if item.is_file()]
    return sorted({item for item in files if hidden or not any(part.startswith(".") for part in item.parts)})


def zipped(files: list[Path]) -> bytes:
    """Return a zip whose names start below the folder that all files share, as upload-artifact has it."""
    shared = Path(os.path.commonpath([path.parent for path in files]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(shared))
    return buffer.getvalue()


def main() -> int:
    """Upload, and say the artifact's number and digest."""
    files = chosen(os.environ["PATHS"].splitlines(), hidden=os.environ["HIDDEN"] == "true")
    if not files:
        sys.stdout.write(f"No files were found with the provided path: {os.environ['PATHS']}\n")
        return int(os.environ["MISSING"] == "error")
    body = zipped(files)
    query = urllib.parse.urlencode({"name": os.environ["NAME"], "overwrite": os.environ["OVERWRITE"]})
    address = f"{os.environ['ACTIONS_RESULTS_URL']}?{query}"
    headers = {"Authorization": f"Bearer {os.environ['ACTIONS_RUNTIME_TOKEN']}", "Content-Type": "application/zip"}
    with urllib.request.urlopen(urllib.request.Request(address, body, headers, method="POST")) as reply:
        number = reply.read().decode()
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as outputs:
        outputs.write(f"artifact-id={number}\nartifact-digest={hashlib.sha256(body).hexdigest()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
