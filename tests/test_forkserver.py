"""A command of the fork server is a process like any other."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.forkserver import VERB, commands
from tests.rig import forking, packages

SCRIPT = """
import json, os, sys, warnings
import trunkline
from dvc import api
sys.stderr.write("an error\\n")
print(json.dumps({"argv": sys.argv, "cwd": os.getcwd(), "given": os.environ.get("GIVEN"), "read": sys.stdin.read(),
    "name": __name__, "library": trunkline.__file__, "path": sys.path[0], "threads": os.environ["OMP_NUM_THREADS"]}))
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "script.py"


def run(*command: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "GIVEN": "yes", **environ}
    return subprocess.run(
        [commands() / command[0], *command[1:]],
        cwd=cwd, env=environ, input="input", capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("cold", [False, True], ids=["forked", "by Python, which reads this variable when it starts"])
def test_it_has_its_own_arguments_folder_environment_streams_and_exit_code(script: Path, cold: bool) -> None:
    environ = {"TRUNKLINE_THREADS": "2", "OMP_NUM_THREADS": "2"} if cold else {}
    done = run("python", "script.py", "7", "é", cwd=script.parent, **environ)
    assert (done.returncode, done.stderr) == (7, "an error\n")
    told = json.loads(done.stdout)
    assert told["argv"] == ["script.py", "7", "é"]
    assert (told["cwd"], told["path"]) == (str(script.parent), str(script.parent))
    assert (told["given"], told["read"], told["name"]) == ("yes", "input", "__main__")
    assert told["threads"] == ("2" if cold else "1")


@pytest.mark.parametrize("sent", [b"", (9).to_bytes(8, "big"), (9).to_bytes(8, "big") + b"half"])
def test_a_command_that_is_killed_before_it_has_asked_keeps_no_other_waiting(script: Path, sent: bytes) -> None:
    address = re.search(r"server\.connect\('(.*)'\)", (commands() / "python").read_text())
    assert address is not None
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address[1])
        if sent:
            socket.send_fds(client, [sent[:8]], [0, 1, 2])
            client.sendall(sent[8:])
    assert run("python", "script.py", "0", cwd=script.parent).returncode == 0


def test_the_library_is_that_of_the_checkout(script: Path) -> None:
    package = script.parent / "src/trunkline"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    told = json.loads(run("python", "script.py", "0", cwd=script.parent).stdout)
    assert told["library"] == str(package / "__init__.py")
    other = script.parent / "other"
    other.mkdir()
    told = json.loads(run("python", "../script.py", "0", cwd=other).stdout)
    assert Path(told["library"]).is_relative_to(Path(__file__).parents[1] / "src/trunkline")


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [("raise ValueError('oh')", 1, "ValueError: oh\n"), ("import sys; sys.exit('no')", 1, "no\n"), ("1", 0, "")],
)
def test_its_end_is_that_of_python(tmp_path: Path, text: str, code: int, told: str) -> None:
    (tmp_path / "end.py").write_text(f"import atexit\natexit.register(print, 'ended')\nprint('printed')\n{text}\n")
    for python in (commands() / "python", sys.executable):
        done = subprocess.run([python, "end.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "printed\nended\n")
        assert done.stderr.endswith(told)
        assert bool(done.stderr) == bool(told)


def test_what_a_verb_starts_is_forked_and_does_what_python_does(tmp_path: Path) -> None:
    told = (
        "import json, sys; print(json.dumps([sys.argv, 'mlflow' in sys.modules])); sys.argv[1:] = ['predict']; main()"
    )
    starts = (("-u", "-c", f"{VERB} {told}"), ("-m", "dvc", "repro"))
    forked, plain = ([run(python, *words, cwd=tmp_path) for words in starts] for python in ("python", sys.executable))
    heads = []
    for one, other in zip(forked, plain, strict=True):
        assert one.returncode == other.returncode != 0
        assert one.stderr == other.stderr != ""
        heads += [json.loads(done.stdout) for done in (one, other) if done.stdout]
    assert heads == [[["-c"], True], [["-c"], False]]


def test_an_environment_that_forks_gives_scripts_to_the_server_and_is_python_for_all_else(tmp_path: Path) -> None:
    python = forking.python(tmp_path / "python")
    subprocess.run([python, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True)
    where = "import sys; print('mlflow' in sys.modules, sys.executable, sys.prefix != sys.base_prefix)"
    (tmp_path / "stage.py").write_text(where)
    verb, own = tmp_path / ".venv/bin/verb", str(tmp_path / ".venv/bin/python")
    verb.write_text(f"#!{own}\n{where}\n")
    verb.chmod(0o755)
    starts = ([own, "stage.py"], [verb], [own, "-c", where], [python, "-c", where])
    told = [subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout for words in starts]
    forked = f"True {commands() / 'python'} True\n"
    assert told[:3] == [forked, forked, f"False {own} True\n"]
    assert told[3].startswith("False ")


def test_an_environment_of_the_same_lock_has_its_packages_as_links_and_scripts_that_it_runs_itself(
    tmp_path: Path,
) -> None:
    installed, lock = tmp_path / "installed", tmp_path / "locks/ci.txt"
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for name, text in {f"{site}/one/__init__.py": "", f"{site}/one-1.dist-info/METADATA": "", "bin/one": "#"}.items():
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_text(text)
    python = forking.python(tmp_path / "python", installed)
    lock.parent.mkdir()
    for text, there in ((packages.LOCK.read_text(encoding="utf-8"), True), ("another==1\n", False)):
        lock.write_text(text, encoding="utf-8")
        subprocess.run([python, "-m", "venv", "--without-pip", "--clear", ".venv"], cwd=tmp_path, check=True)
        packages_here = tmp_path / ".venv" / site
        about = packages_here / "one-1.dist-info"
        assert [(tmp_path / ".venv/bin/one").exists(), (packages_here / "one").is_symlink()] == [there, there]
        assert (about.exists(), about.is_symlink()) == (there, False)  # uv takes no link for what is installed
    assert (installed / site / "one/__init__.py").exists()


def test_warnings_are_as_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "warn.py").write_text("import warnings\nwarnings.warn('careful')\n")
    assert run("python", "warn.py", cwd=tmp_path, PYTHONWARNINGS="ignore").stderr == ""
    assert "careful" in run("python", "warn.py", cwd=tmp_path, PYTHONWARNINGS="default").stderr
    assert run("python", "warn.py", cwd=tmp_path, PYTHONWARNINGS="error").returncode == 1


def test_what_dvc_parses_is_kept(tmp_path: Path) -> None:
    code = "from dvc.utils.serialize import _yaml\nprint(_yaml.parse_yaml.__module__)\n"
    (tmp_path / "script.py").write_text(code)
    assert run("python", "script.py", cwd=tmp_path).stdout == "trunkline.adapters.dvc.parses\n"


def test_it_ends_with_the_one_who_waits_and_so_does_what_it_has_started(tmp_path: Path) -> None:
    """As DVC's stages do: a shell that waits for a fork."""
    wait = "import os, subprocess, sys, time\nprint(os.getpid(), flush=True)\n"
    (tmp_path / "wait.py").write_text(f"{wait}subprocess.run(f'{{sys.executable}} inner.py; true', shell=True)\n")
    (tmp_path / "inner.py").write_text(f"{wait}time.sleep(600)\n")
    process = subprocess.Popen([commands() / "python", "wait.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    outer, inner = (psutil.Process(int(process.stdout.readline())) for _ in range(2))
    (shell,) = outer.children()
    assert process.pid not in (outer.pid, inner.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()  # to the end of what any of them could print
    _, alive = psutil.wait_procs([outer, shell, inner], timeout=20)
    assert alive == []
