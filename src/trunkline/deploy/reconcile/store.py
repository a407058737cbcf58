"""The folder that servers on this machine watch: whole bundles by digest, and per environment the one to serve.

A bundle is put in place in one rename, after every byte of it was verified, and never changes. What an environment is
to serve is one small file, replaced in one rename. So whoever reads the folder, at any moment, finds a whole bundle.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from trunkline.bundle import manifest as bundle_manifest
from trunkline.core import files
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.params import dig
from trunkline.deploy.mlflow.state import Release
from trunkline.deploy.reconcile.state import Tried
from trunkline.serve.model import Pointer, Rollout

_ASIDE = ".aside-"  # what begins so is half of something, left by a process that was killed
_LOCK_SECONDS = 60


@dataclass(frozen=True)
class BundleStore:
    """A store in a folder, which need not exist."""

    folder: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store, so that one process at a time changes it; raises OutsideError if another one stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS):
                for half in self.folder.rglob(f"{_ASIDE}*"):
                    shutil.rmtree(half)
                yield
        except Timeout:
            raise OutsideError(
                f"{self.folder}: another reconcile has held it for {_LOCK_SECONDS} s; wait for it"
            ) from None

    def bundle(self, digest: str) -> Path:
        """Return where the bundle of a digest is, or would be."""
        return self.folder / "bundles" / digest

    def has(self, digest: str) -> bool:
        """Tell whether the bundle of a digest is here, every byte of it."""
        try:
            return bundle_manifest.verify(self.bundle(digest)) == digest
        except (UserError, OSError):
            return False

    def put(self, digest: str, get: Callable[[Path], object]) -> None:
        """Put a bundle in place, which `get` writes into a folder that does not exist; a broken one is replaced.

        Raises OutsideError for one of another digest, and as `manifest.verify` does.
        """
        path = self.bundle(digest)
        with self._aside(path.parent) as aside:
            get(aside / "bundle")
            written = bundle_manifest.verify(aside / "bundle")
            if written != digest:
                raise OutsideError(f"the bundle {digest[:12]} was asked for, but {written[:12]} was got")
            if path.exists():
                path.rename(aside / "broken")
            (aside / "bundle").rename(path)

    def delivered(self, environment: str) -> Pointer | None:
        """Return what is delivered to an environment; None for nothing, or a file that `deliver` did not write."""
        try:
            pointer = msgspec.json.decode(self._pointer(environment).read_bytes(), type=Pointer)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        candidates = [pointer.rollout.candidate] if pointer.rollout else []
        right = all(each.bundle == self._place(each.digest) for each in (pointer, *candidates))
        return pointer if right else None

    def since(self, environment: str) -> float | None:
        """Return when what is delivered to an environment was, in seconds since 1970; None for nothing."""
        path = self._pointer(environment)
        return path.stat().st_mtime if path.exists() else None

    def deliver(self, environment: str, release: Release, tried: Tried | None = None) -> None:
        """Tell an environment's servers what to serve, and which candidate to try beside it.

        Raises OutsideError for a bundle that is not here.
        """
        pointer = self._pointing(release)
        if tried is not None and tried.release is not None:
            rollout = Rollout(tried.kind, tried.share, tried.key, self._pointing(tried.release))
            pointer = msgspec.structs.replace(pointer, rollout=rollout)
        files.write_json(self._pointer(environment), msgspec.to_builtins(pointer))

    def _pointing(self, release: Release) -> Pointer:
        path, version = self.bundle(release.digest), release.version
        if not path.is_dir():
            raise OutsideError(f"{path}: the bundle of {version} is not there")
        os.utime(path)  # the time of its last use, for `tidy`
        place = self._place(release.digest)
        return Pointer(version.name, version.label, release.digest, place, release.commit, release.provenance)

    def withdraw(self, environment: str) -> None:
        """Take away what is delivered to an environment."""
        self._pointer(environment).unlink(missing_ok=True)

    def noted(self, environment: str) -> str | None:
        """Return the text of the last `note`."""
        path = self._note(environment)
        return path.read_text(encoding="utf-8").strip() if path.exists() else None

    def note(self, environment: str, text: str | None) -> None:
        """Remember a text of an environment; None forgets it."""
        if text is None:
            self._note(environment).unlink(missing_ok=True)
        else:
            files.write_text(self._note(environment), f"{text}\n")

    def manifest(self, environment: str, name: str) -> str | None:
        """Return a rendered manifest; None if there is none."""
        path = self._manifest(environment, name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None

    def write_manifest(self, environment: str, name: str, text: str | None) -> None:
        """Write a rendered manifest; None takes it away."""
        if text is None:
            self._manifest(environment, name).unlink(missing_ok=True)
        else:
            files.write_text(self._manifest(environment, name), text)

    def tidy(self, keep: int) -> tuple[str, ...]:
        """Delete bundles but those that are delivered and the `keep` that were used last; return what is gone."""
        bundles = [path for path in (self.folder / "bundles").glob("*") if not path.name.startswith(".")]
        bundles.sort(key=lambda path: (-path.stat().st_mtime_ns, path.name))
        pointers = [json.loads(path.read_bytes()) for path in self.folder.glob("*.json")]
        used = {dig(each, *keys) for each in pointers for keys in (("digest",), ("rollout", "candidate", "digest"))}
        gone = [path for path in bundles[keep:] if path.name not in used]
        for path in gone:
            with self._aside(path.parent) as aside:
                path.rename(aside / "bundle")
        return tuple(path.name for path in gone)

    def _place(self, digest: str) -> str:
        return self.bundle(digest).relative_to(self.folder).as_posix()

    def _pointer(self, environment: str) -> Path:
        return self.folder / f"{environment}.json"

    def _note(self, environment: str) -> Path:
        return self.folder / "noted" / environment

    def _manifest(self, environment: str, name: str) -> Path:
        return self.folder / "manifests" / environment / name

    @contextmanager
    def _aside(self, parent: Path) -> Iterator[Path]:
        """Yield a folder on the same file system for what is half done."""
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=_ASIDE) as aside:
            yield Path(aside)
