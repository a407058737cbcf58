"""What a result must not depend on, pinned before anything heavy is imported: threads, kernels, waiting."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from trunkline.core.errors import UserError

THREADS = "TRUNKLINE_THREADS"

# The oldest kernels that every supported CPU has: numpy's groups above X86_V3 (AVX2, FMA) are switched off.
_KERNELS = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}
# Threads of OpenMP that find no free CPU wait by spinning unless told to sleep: 0.3 s of boosting took 180 s.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


def pin() -> None:
    """Set the environment that makes results independent of the machine; must come before numpy is imported.

    Threads: TRUNKLINE_THREADS, else the usable CPUs; no result depends on it. Raises UserError for no number.
    """
    wanted = settings(os.environ, cpu_flags())
    if "numpy" in sys.modules and any(os.environ.get(key) != value for key, value in wanted.items()):
        raise RuntimeError("numpy was imported before trunkline.core.stage.run: move heavy imports into main()")
    if "OPENBLAS_CORETYPE" not in wanted:
        note = "note: not an x86-64 CPU with AVX2 and FMA: results may differ from others' in the last bits"
        print(note, file=sys.stderr)  # noqa: T201
    os.environ.update(wanted)


def settings(environ: Mapping[str, str], flags: frozenset[str]) -> dict[str, str]:
    """Return the environment variables to set: kernels if the CPU has them, and thread counts."""
    threads = environ.get(THREADS, "")
    if not threads:
        usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        threads = str(max(1, min(usable, _cpu_quota())))
    elif not re.fullmatch(r"[1-9][0-9]{0,3}", threads):
        raise UserError(f"{THREADS}={threads}: must be a whole number from 1 to 9999, such as 4; or unset it")
    kernels = _KERNELS if is_known(flags) else {}
    # OpenBLAS splits a product over its threads, which changes the sums: one thread, whatever is asked for.
    counts = {"OMP_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads, "OPENBLAS_NUM_THREADS": "1"}
    return kernels | counts | _WAITING


def is_known(flags: frozenset[str]) -> bool:
    """Tell whether a CPU has the kernels that are pinned, so that its results have the same bytes as others'."""
    return {"avx2", "fma"} <= flags


def _cpu_quota(control: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the CPUs that a container may use: more threads than that wait for each other."""
    try:
        quota, period = control.read_text().split()
    except (OSError, ValueError):
        return sys.maxsize
    return sys.maxsize if quota == "max" else -(-int(quota) // int(period))


def cpu_flags(source: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return what an x86-64 CPU can do, in Linux' words, such as avx2; nothing for another, or where nobody says."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        flags = re.search(r"^flags\s*:(.*)$", source.read_text(), re.MULTILINE)
    except OSError:
        return frozenset()
    return frozenset(flags[1].split()) if flags else frozenset()
