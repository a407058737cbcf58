"""The archive of a function of AWS Lambda: packages, a bundle and params.yaml, the same bytes for the same content."""

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trunkline.bundle import manifest
from trunkline.conf.serving import Serving
from trunkline.core import files
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.serve.function import BUNDLE, refuse

LIMIT = 262_144_000  # bytes that Lambda unpacks at most
HANDLER = "trunkline.serve.aws_lambda.handler"
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the first that a zip knows
_NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")  # of who installed, and when


def content(
    bundle: Path, packages: Path, project: Path, cloud: str = "Lambda", limit: int | None = None
) -> dict[PurePosixPath, Path]:
    """Return the files of the archive by their names in it.

    `packages` is what pip installs with --target: locks/serve.txt, and trunkline. Raises UserError for a bundle that is
    not what its manifest says, packages without trunkline, a declaration that no function can follow, and too much.
    """
    manifest.verify(bundle)
    refuse(Params.read(project).group(Serving))
    if not (packages / "trunkline/serve/aws_lambda.py").is_file():
        raise UserError(f"{packages}: has no trunkline; run: pip install --no-deps --target {packages} trunkline")
    listed = {PurePosixPath(path.relative_to(packages).as_posix()): path for path in _installed(packages)}
    listed |= {PurePosixPath(BUNDLE, path.name): path for path in bundle.iterdir()}
    listed[PurePosixPath("params.yaml")] = project / "params.yaml"
    if (size := sum(path.stat().st_size for path in listed.values())) > (most := limit or LIMIT):
        raise UserError(f"{size:,} bytes are more than the {most:,} that {cloud} unpacks; use the container instead")
    return dict(sorted(listed.items()))


def write(listed: dict[PurePosixPath, Path], output: Path) -> None:
    """Write the archive, atomically."""
    with files.atomic_path(output) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name, path in listed.items():
            entry = zipfile.ZipInfo(name.as_posix(), _MOMENT)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix, on every system
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 6)


def _installed(packages: Path) -> Iterator[Path]:
    """Yield the files of packages, but those that say who installed them, programs and compiled code."""
    for path in packages.rglob("*"):
        inside = path.relative_to(packages).parts
        noted = inside[0].endswith(".dist-info") and path.name in _NOTES
        if path.is_file() and not noted and inside[0] != "bin" and "__pycache__" not in inside:
            yield path
