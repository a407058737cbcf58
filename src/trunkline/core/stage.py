"""Runs a stage so that the same inputs give the same bytes on another machine, and mistakes give one message.

Numerical libraries pick their kernels by the CPU and split their sums over threads, and both change the last
bits of a result. What can be pinned is pinned here, before numpy is imported, and overrides the user's shell;
so this module imports nothing heavy. Not pinned: the C library's exp and log (it too picks kernels by
the CPU, but has one for all with AVX2 and FMA), and any CPU that is not x86-64 with AVX2 and FMA.
"""

import contextlib
import errno
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import trunkline
from trunkline.core import paths
from trunkline.core.errors import OutsideError, TrunklineError, UserError

THREADS = "TRUNKLINE_THREADS"

# The oldest kernels that every supported CPU has: numpy's groups above X86_V3 (AVX2, FMA) are switched off.
_KERNELS = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}
# Threads of OpenMP that find no free CPU wait by spinning unless told to sleep: 0.3 s of boosting took 180 s.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
_ADVICE = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space or raise the quota, and run again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) and run again",
    errno.EROFS: "the file system is read-only; use a folder that can be written",
    errno.EACCES: "give yourself the permission and run again",
    errno.EPERM: "give yourself the permission and run again",
    errno.ENOENT: "run: dvc repro, which makes what each stage reads",
}


# How polars and DuckDB say that a Parquet file is none, whole; what users supply is judged where it is read.
_DAMAGED = re.compile(
    r"parquet: File out of specification|No magic bytes found|too small to be a Parquet file|likely corrupted"
    r"|Corrupted file|Decompression failure|Could not read enough bytes|don't know what type|invalid TType|TProtocol"
)


def run(main: Callable[[], None]) -> None:
    """Run a stage's main function with pinned kernels and threads; an error becomes a message and a code."""
    try:
        _use_the_tree_in(Path.cwd())
        pin()
        started = time.perf_counter()
        main()
        _remember(time.perf_counter() - started)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)  # noqa: T201  light: no library is imported yet
        sys.exit(known.exit_code)


def _remember(seconds: float) -> None:
    """Keep how long the stage took, for `trunkline plan`; where that cannot be written, nobody misses it."""
    folder = paths.home(Path.cwd()) / paths.DURATIONS
    with contextlib.suppress(OSError):
        folder.parent.mkdir(exist_ok=True)  # in a DVC repository only
        folder.mkdir(exist_ok=True)
        (folder / Path(sys.argv[0]).stem).write_text(f"{seconds:.2f}\n", encoding="utf-8")


def pin() -> None:
    """Set the environment that makes results independent of the machine; must come before numpy is imported.

    Threads: TRUNKLINE_THREADS, else the usable CPUs; no result depends on it. Raises UserError for no number.
    """
    wanted = settings(os.environ, _cpu_flags())
    if "numpy" in sys.modules and any(os.environ.get(key) != value for key, value in wanted.items()):
        raise RuntimeError("numpy was imported before trunkline.core.stage.run: move heavy imports into main()")
    if "OPENBLAS_CORETYPE" not in wanted:
        note = "note: not an x86-64 CPU with AVX2 and FMA: results may differ from others' in the last bits"
        print(note, file=sys.stderr)  # noqa: T201
    os.environ.update(wanted)


def settings(environ: Mapping[str, str], cpu_flags: frozenset[str]) -> dict[str, str]:
    """Return the environment variables to set: kernels if the CPU has them, and thread counts."""
    threads = str(_threads(environ))
    kernels = _KERNELS if {"avx2", "fma"} <= cpu_flags else {}
    # OpenBLAS splits a product over its threads, which changes the sums: one thread, whatever is asked for.
    counts = {"OMP_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads, "OPENBLAS_NUM_THREADS": "1"}
    return kernels | counts | _WAITING


def explain(error: BaseException) -> TrunklineError | None:
    """Return the error as one message with an exit code, or None for a bug, which deserves its traceback."""
    if isinstance(error, TrunklineError):
        return error
    if isinstance(error, MemoryError):
        return OutsideError("out of memory; close other programs or use a machine with more, and run again")
    code, path = _system_error(error)
    if code in _ADVICE:
        return OutsideError(f"{path or 'a file'}: {os.strerror(code)}; {_ADVICE[code]}")
    package = type(error).__module__.partition(".")[0]
    if (package in ("polars", "_duckdb") or isinstance(error, OSError)) and _DAMAGED.search(str(error)):
        what = " ".join(str(error).splitlines()[0].split())
        return OutsideError(f"a Parquet file of data/ is cut off or damaged ({what}); run: dvc repro, to make it again")
    return None


def _system_error(error: BaseException) -> tuple[int, str]:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno, os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    # Libraries written in Rust, such as polars, put it into the text of exceptions of their own.
    native = re.search(r"\(os error (\d+)\)(?:: (.+))?", str(error))
    return (int(native[1]), native[2] or "") if native else (0, "")


def _threads(environ: Mapping[str, str]) -> int:
    asked = environ.get(THREADS, "")
    if not asked:
        return max(1, min(_usable_cpus(), _cpu_quota()))
    if not re.fullmatch(r"[1-9][0-9]{0,3}", asked):
        raise UserError(f"{THREADS}={asked}: must be a whole number from 1 to 9999, such as 4; or unset it")
    return int(asked)


def _usable_cpus() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_quota(control: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the CPUs that a container may use: more threads than that wait for each other."""
    try:
        quota, period = control.read_text().split()
    except (OSError, ValueError):
        return sys.maxsize
    return sys.maxsize if quota == "max" else -(-int(quota) // int(period))


def _cpu_flags(source: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    if platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        flags = re.search(r"^flags\s*:(.*)$", source.read_text(), re.MULTILINE)
    except OSError:
        return frozenset()
    return frozenset(flags[1].split()) if flags else frozenset()


def _use_the_tree_in(root: Path) -> None:
    """Start again with the working tree's own library, if an environment's editable install points elsewhere.

    `dvc exp run --temp`, `--queue` and git worktrees run a checkout with the environment of another.
    """
    source = root / "src"
    if not (source / "trunkline").is_dir() or Path(trunkline.__file__).parent.samefile(source / "trunkline"):
        return
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if others[0] == str(source):
        raise OutsideError(f"{source}: is not what Python imports as trunkline; do not run it with -I or -E")
    path = os.pathsep.join([str(source), *filter(None, others)])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONPATH": path})  # noqa: S606
