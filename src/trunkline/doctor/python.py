"""Whether this Python, this processor and the installed packages are those that results have their bytes from."""

import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from trunkline.core import machine
from trunkline.core.paths import FRAMEWORK
from trunkline.doctor.findings import Finding, Setup, absent, fails, works
from trunkline.release.provenance import ENVIRONMENT

SHOWN = 3  # packages that differ

_PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*==[^\s\\]+(?: *;[^\\\n]+)?)", re.MULTILINE)


def check(setup: Setup) -> Iterator[Finding]:
    """Look at Python, the processor, and the packages."""
    here, supported = platform.python_version(), metadata("trunkline")["Requires-Python"]
    if SpecifierSet(supported).contains(here, prereleases=True):
        yield works("Python", f"{here}, in {supported}")
    else:
        yield fails("Python", f"{here} is not in {supported}", "make the environment anew with a Python of that range")
    yield _processor(machine.cpu_flags())
    yield _packages(setup.root)


def _processor(flags: frozenset[str]) -> Finding:
    if machine.is_known(flags):
        return works("processor", f"{platform.machine()} with AVX2 and FMA: results have the bytes of dvc.lock")
    detail = f"{platform.machine()}, not an x86-64 one with AVX2 and FMA: results may differ in the last bits"
    return Finding("not known", "processor", detail, "have a workflow make what is committed: trunkline ci reproduce")


def _packages(root: Path) -> Finding:
    locks = [root / ENVIRONMENT, *([root / FRAMEWORK] if (root / FRAMEWORK).is_file() else [])]
    try:
        entries = [entry for lock in locks for entry in _PINNED.findall(lock.read_text(encoding="utf-8"))]
        pinned = [Requirement(entry) for entry in entries]
    except FileNotFoundError:
        return absent("packages", f"there is no {ENVIRONMENT} here", "run it in the root of a project")
    except (OSError, UnicodeDecodeError, InvalidRequirement):
        return fails("packages", f"{ENVIRONMENT} cannot be read", f"run: git restore {ENVIRONMENT}")
    purpose = "ci" if (root / FRAMEWORK).is_file() else "dev"  # which is the framework's own
    wanted = [each for each in pinned if each.marker is None or each.marker.evaluate()]
    differing = [text for each in wanted if (text := _difference(each))]
    if differing:
        more = f", and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        detail = f"{len(differing)} of {len(wanted)} are not as {ENVIRONMENT} says: {', '.join(differing[:SHOWN])}"
        return fails("packages", detail + more, f"run: locks/install {purpose}, and use the environment .venv")
    return works("packages", f"all {len(wanted)} are as {ENVIRONMENT} says")


def _difference(pinned: Requirement) -> str | None:
    try:
        installed = version(pinned.name)
    except PackageNotFoundError:
        return f"{pinned.name} is not installed"
    if pinned.specifier.contains(installed, prereleases=True):
        return None
    return f"{pinned.name} is {installed}, not {str(pinned.specifier).removeprefix('==')}"
