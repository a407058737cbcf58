"""Starts Python commands in milliseconds: a server that has imported the libraries forks a process for each.

Most of what a verb or a stage costs in a test is the import of scikit-learn, MLflow and DVC. The folder `commands()`
stands first on a PATH: its `python`, `dvc` and `trunkline` are processes like any others, with their own arguments,
folder, environment, output and exit code, and so are the stages that DVC starts; but their libraries are there already.
trunkline is not: each process imports it from the checkout that it is started in, as if that were installed.

What libraries read when they are imported cannot be changed later: a command that is started with other values of
STARTUP, or with options of Python, is run by Python as usual; but `python -m dvc`, and a verb as the text of `python
-c`, unbuffered or not, are forked too, since verbs start them. A fork leads a group of processes, which is killed when
the one who waits for it is, and so are the forks that the group waits for. Tests that time or measure a process take
no fork.
"""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from trunkline.adapters import mlflow
from trunkline.adapters.dvc.parses import kept_parses
from trunkline.core import machine, stage

COMMANDS = ("python", "dvc", "trunkline", "gto")
# Read by Python or by libraries when they start; but for those in ANEW, which are heeded for each command.
STARTUP = ("PYTHON", "OMP_", "OPENBLAS_", "NPY_", "POLARS_", "TRUNKLINE_THREADS")
ANEW = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
VERB = "from trunkline.cli import main;"  # how a verb starts another, which is forked as well
LIBRARIES = (
    "dvc.cli", "dvc.commands.repro", "dvc.repo.reproduce", "dvc.stage.run", "dvc.stage.cache", "dvc.repo.experiments",
    "dvc.dependency.param", "dvc.utils.strictyaml", "dvc.repo.checkout", "dvc_data.index", "ruamel.yaml", "networkx",
    "hydra", "omegaconf", "pandera.polars", "pandas", "polars", "duckdb", "pyarrow.parquet", "onnx",
    "sklearn.ensemble", "sklearn.linear_model", "sklearn.pipeline", "sklearn.compose", "sklearn.preprocessing",
    "sklearn.impute", "sklearn.calibration", "sklearn.metrics", "sklearn.neural_network", "skops.io", "scipy.stats",
    "shap", "lightgbm", "matplotlib.figure", "matplotlib.backends.backend_svg", "mlflow", "mlflow.sklearn",
    "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "hypothesis.strategies", "msgspec",
    "rich.console", "rich.progress", "rich.table", "jinja2", "pydantic", "rapidfuzz", "cryptography",
    "securesystemslib.signer",
)  # fmt: skip
# Threads of allocators, which are made for forks, and one of polars that sleeps until something is spilled to disk.
# Not onnxruntime, whose import starts a thread of its own.
IDLE = {"jemalloc_bg_thd", "polars-ooc-clea"}
# argv: the socket, the folder of the real commands, the command. It imports little: it is all that a command waits for.
CLIENT = """#!{python} -IS
import array, json, os, socket, sys
name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
if name == "python" and arguments[:1] == ["-u"]:
    os.environ["PYTHONUNBUFFERED"], arguments = "1", arguments[1:]
if name == "python" and arguments[:2] == ["-m", "dvc"]:
    name, arguments = "dvc", arguments[2:]
real = os.path.join({commands!r}, name)
environ = dict(os.environ)
read = {{key: value for key, value in environ.items() if key.startswith({startup!r})}}
known = environ.get("PYTHONWARNINGS", "") in ("", "default", "ignore", "error")
known = known and all(key in {anew!r} or {started!r}.get(key) == value for key, value in read.items())
verb = arguments[:1] == ["-c"] and arguments[1].startswith({verb!r})
if not known or name == "python" and not verb and (not arguments or arguments[0].startswith("-")):
    os.execv(real, [real, *arguments])
script, *arguments = arguments if name == "python" else [real, *arguments]
python = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "python")
request = json.dumps([script, arguments, os.getcwd(), environ, python]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({socket!r})
    descriptors = array.array("i", [0, 1, 2])
    server.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
    server.sendall(request)
    os._exit(int(server.recv(8) or b"70"))
"""


# The tests run side by side, one for each core; no result depends on the number of threads.
ONE_THREAD = {"TRUNKLINE_THREADS": "1"}


@cache
def commands() -> Path:
    """Return the folder with the commands of this process's server, which is started when it is first asked for."""
    server = Forkserver(Path(tempfile.mkdtemp(prefix="commands-")), ONE_THREAD)
    atexit.register(server.stop)
    return server.bin


class Forkserver:
    """A server with a folder of commands; `stop` ends it, and what it has started."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        # The name of a socket may have a hundred characters only.
        self._socket = Path(tempfile.mkdtemp(prefix="fork-")) / "socket"
        known = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        known |= {**environ, **machine.settings(environ, machine.cpu_flags())}
        source = CLIENT.format(
            python=sys.executable,
            commands=str(Path(sys.executable).parent),
            startup=STARTUP,
            anew=ANEW,
            verb=VERB,
            started={key: value for key, value in known.items() if key.startswith(STARTUP)},
            socket=str(self._socket),
        )
        for name in COMMANDS:
            (self.bin / name).write_text(source, encoding="utf-8")
            (self.bin / name).chmod(0o755)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forkserver", str(self._socket)],
            cwd=Path(__file__).parent.parent,
            env=known,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the fork server did not start"

    def stop(self) -> None:
        """End it with all that it has started."""
        server = psutil.Process(self._process.pid)
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.communicate()
        shutil.rmtree(self._socket.parent)
        shutil.rmtree(self.bin.parent)


def prepare() -> None:
    """Import the libraries; raises RuntimeError where one of them starts a thread that may hold a lock at a fork."""
    os.environ.update(mlflow._ENVIRONMENT)  # MLflow reads it when it is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    others = [task for task in Path("/proc/self/task").iterdir() if int(task.name) != os.getpid()]
    names = {(task / "comm").read_text().strip() for task in others}
    if names - IDLE:
        raise RuntimeError(f"a library has started threads: {sorted(names - IDLE)}")


def serve(address: str) -> tuple[str, list[str]]:
    """Fork a process for each command, in which this returns the script and its arguments; the server never returns."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                received = _received(connection)
                if received is None:
                    connection.close()
                    continue
                request, descriptors = received
                pid = os.fork()
                os.setpgid(pid, pid)  # by both, as it is not known who is first
                if pid == 0:
                    selector.close()
                    listener.close()
                    connection.close()
                    return _become(request, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                ended = os.pidfd_open(pid)
                selector.register(ended, selectors.EVENT_READ, (pid, connection))
                selector.register(connection, selectors.EVENT_READ, (pid, ended))
            elif isinstance(key.fileobj, int):
                _tell(selector, key.fileobj, *key.data)
            else:  # the one who waits has gone
                with contextlib.suppress(KeyError, ValueError):  # it has ended in the same moment
                    selector.unregister(key.fileobj)
                    os.killpg(key.data[0], signal.SIGKILL)


def _tell(selector: selectors.BaseSelector, ended: int, pid: int, connection: socket.socket) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    selector.unregister(ended)
    os.close(ended)
    with contextlib.suppress(KeyError):
        selector.unregister(connection)
    with connection, contextlib.suppress(OSError):
        connection.sendall(str(code if code >= 0 else 128 - code).encode())


def _received(connection: socket.socket) -> tuple[list[Any], list[int]] | None:
    """Return a request and the descriptors of its output; None of a client that was killed before it had sent all."""
    descriptors = array.array("i")
    with contextlib.suppress(ConnectionError):
        head, ancillary, *_ = connection.recvmsg(8, socket.CMSG_SPACE(3 * descriptors.itemsize))
        for _, _, sent in ancillary:
            descriptors.frombytes(sent)
        wanted, body = int.from_bytes(head, "big"), b""
        while len(body) < wanted and (more := connection.recv(wanted - len(body))):
            body += more
        if len(descriptors) == 3 and len(body) == wanted:
            return json.loads(body), list(descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return None


def _become(request: list[Any], descriptors: list[int]) -> tuple[str, list[str]]:
    script, arguments, folder, environ, sys.executable = request  # so that what it starts is forked, too
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(folder)
    pins = {key: os.environ[key] for key in os.environ if key.startswith(STARTUP)}
    os.environ.clear()
    os.environ.update(environ | pins)
    sys.dont_write_bytecode = bool(environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.stdout.reconfigure(write_through=bool(environ.get("PYTHONUNBUFFERED")))  # type: ignore[union-attr]
    if chosen := environ.get("PYTHONWARNINGS"):
        warnings.resetwarnings()
        warnings.simplefilter(chosen)
    return script, arguments


def _paths(script: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what Python looks through for imports, with the library of the checkout in the place of this one's."""
    yield str(Path(script).absolute().parent)
    yield from filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))
    own, here = Path(stage.__file__).parents[2], Path.cwd() / "src"
    for path in sys.path[1:]:
        yield str(here) if path and Path(path) == own and (here / "trunkline").is_dir() else path


def _forget_trunkline() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("trunkline", "tests")]:
        del sys.modules[name]


def _run(script: str) -> None:
    """Run a script and end as Python does, but without tearing down what was imported: that takes a second."""
    code = 0
    try:
        if script == "-c":
            exec(sys.argv.pop(1), {"__name__": "__main__"})
        else:
            runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    prepare()
    gc.freeze()  # so that a collection in a process copies no page of what was imported
    with kept_parses():
        script, sys.argv[1:] = serve(sys.argv[1])
        sys.argv[0] = script
        sys.path[:] = _paths(script, os.environ)
        _forget_trunkline()
        _run(script)
