"""The environment of a stage: equal bits under any shell and thread count, and one message per mistake."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trunkline
from trunkline.core import durations, errors, files, machine
from trunkline.core.errors import UserError

NUMERICS = """
import hashlib
from trunkline.core import stage

def main():
    import numpy as np
    import scipy.linalg
    random = np.random.default_rng(0)
    a, b = random.normal(size=(700, 900)), random.normal(size=(900, 500))
    narrow = a.astype(np.float32)
    results = [a @ b, a @ b[:, 0], np.exp(a), np.log(abs(a)).sum(0), np.sin(narrow), np.exp(narrow).sum(1),
               np.linalg.solve(a[:300, :300], b[:300]), scipy.linalg.svd(a[:50, :60])[0],
               np.argsort(a[0].round(1))]
    print(hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in results)).hexdigest())
"""


def script(code: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=cwd, env=kept | environ, capture_output=True, text=True, check=False)


def staged(body: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return script(f"from trunkline.core.stage import run\ndef main():\n    {body}\nrun(main)", cwd, **environ)


HOSTILE = [
    {},
    {"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"},
    {"OPENBLAS_CORETYPE": "SkylakeX", "NPY_DISABLE_CPU_FEATURES": "", "OPENBLAS_NUM_THREADS": "3"},
    {"TRUNKLINE_THREADS": "1"},
    {"TRUNKLINE_THREADS": "4", "OMP_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": "4"},
]


@pytest.mark.skipif("avx2" not in machine.cpu_flags(), reason="kernels are pinned on x86-64 with AVX2 only")
def test_bits_do_not_depend_on_the_shell_or_the_threads() -> None:
    pinned = [script(NUMERICS + "stage.run(main)", **environ) for environ in HOSTILE]
    assert {done.stderr for done in pinned} == {""}
    assert len({done.stdout for done in pinned}) == 1
    # The same computation does differ without the pins, so the equality above says something.
    assert len({script(NUMERICS + "main()", **environ).stdout for environ in HOSTILE}) > 1


def test_threads_follow_the_one_variable_that_is_ours() -> None:
    flags = frozenset({"avx2", "fma"})
    given = machine.settings({"TRUNKLINE_THREADS": "3", "OMP_NUM_THREADS": "9"}, flags)
    assert (given["OMP_NUM_THREADS"], given["POLARS_MAX_THREADS"], given["OPENBLAS_NUM_THREADS"]) == (
        "3",
        "3",
        "1",
    )
    assert 1 <= int(machine.settings({}, flags)["OMP_NUM_THREADS"]) <= (os.cpu_count() or 1)
    for wrong in ("0", "-1", "four", "1.5", " 2", "٣", "100000"):
        with pytest.raises(UserError, match=r"TRUNKLINE_THREADS=.* whole number"):
            machine.settings({"TRUNKLINE_THREADS": wrong}, flags)


def test_kernels_are_left_alone_and_said_on_another_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "OPENBLAS_CORETYPE" not in machine.settings({}, frozenset({"sse2", "avx"}))
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert machine.cpu_flags() == frozenset()
    monkeypatch.setattr(machine.os, "environ", dict(os.environ))
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    machine.pin()
    assert capsys.readouterr().err.count("note: ") == 1


def test_container_quota_bounds_the_threads(tmp_path: Path) -> None:
    control = tmp_path / "cpu.max"
    for text, expected in [
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("max 100000", sys.maxsize),
        ("", sys.maxsize),
    ]:
        control.write_text(text)
        assert machine._cpu_quota(control) == expected
    assert machine._cpu_quota(tmp_path / "absent") == sys.maxsize


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            "from trunkline.core.errors import UserError; raise UserError('conf/x.yaml: model.depht: no')",
            2,
            "conf/x.yaml",
        ),
        (
            "from trunkline.core.errors import OutsideError; raise OutsideError('the server is down')",
            3,
            "server is down",
        ),
        (
            "import pathlib; pathlib.Path('/dev/full').write_text('x')",
            3,
            "No space left on device; free some space",
        ),
        (
            "import polars as p; p.DataFrame({'a': range(100_000)}).write_parquet('/dev/full')",
            3,
            "free some space",
        ),
        ("import polars as p; p.read_parquet('data/none.parquet')", 3, "data/none.parquet: No such file"),
        ("open('data/none.json')", 3, "data/none.json: No such file or directory; run: dvc repro"),
        ("bytearray(1 << 60)", 3, "out of memory"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(body: str, code: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    done = staged(body, tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_outside_of_a_project_the_advice_is_to_go_to_one(tmp_path: Path) -> None:
    assert (
        "data/none.json: No such file or directory; run this in the root of a project"
        in staged("open('data/none.json')", tmp_path).stderr
    )


def test_refusals_of_the_file_system_name_the_path() -> None:
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        known = errors.explain(OSError(code, os.strerror(code), "models/model.skops"))
        assert known is not None
        assert known.exit_code == 3
        assert str(known).startswith("models/model.skops: ")


def test_a_bug_keeps_its_traceback_and_an_interrupt_is_quiet(tmp_path: Path) -> None:
    bug = staged("{}['missing']", tmp_path)
    assert bug.returncode == 1
    assert "Traceback" in bug.stderr
    assert "KeyError" in bug.stderr
    interrupted = staged("raise KeyboardInterrupt", tmp_path)
    assert (interrupted.returncode, interrupted.stderr) == (130, "")


def test_numpy_before_run_is_a_bug(tmp_path: Path) -> None:
    done = script("import numpy\nfrom trunkline.core.stage import run\nrun(lambda: None)", tmp_path)
    assert "move heavy imports into main()" in done.stderr


def test_a_checkout_runs_its_own_library(tmp_path: Path) -> None:
    own = Path(trunkline.__file__).parent
    checkout = tmp_path / "check out"
    shutil.copytree(own, checkout / "src" / "trunkline", ignore=shutil.ignore_patterns("__pycache__"))
    body = "import sys, trunkline; print(trunkline.__file__, *sys.argv[1:])"
    code = f"from trunkline.core.stage import run\ndef main():\n    {body}\nrun(main)"
    (checkout / "stage.py").write_text(code)
    elsewhere = {"PATH": os.environ["PATH"], "PYTHONPATH": str(own.parent)}
    command = [sys.executable, "stage.py", "an argument"]
    done = subprocess.run(command, cwd=checkout, env=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{checkout / 'src' / 'trunkline' / '__init__.py'} an argument"
    isolated = subprocess.run(
        [sys.executable, "-I", "stage.py"],
        cwd=checkout,
        env=elsewhere | {"PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert isolated.returncode == 3
    assert "do not run it with -I" in isolated.stderr


def test_how_long_a_stage_took_is_kept_beside_dvc_and_nowhere_else(tmp_path):
    stage = tmp_path / "stages" / "nap.py"
    stage.parent.mkdir()
    stage.write_text("from trunkline.core.stage import run\nimport time\nrun(lambda: time.sleep(0.05))\n")

    def run():
        return subprocess.run([sys.executable, stage], cwd=tmp_path, check=True, stderr=subprocess.PIPE, text=True)

    def left():
        assert run().stderr == ""
        return {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}

    assert left() == {"stages/nap.py"}
    (tmp_path / ".dvc").mkdir()
    assert left() == {"stages/nap.py", ".dvc/tmp/trunkline/nap"}
    assert durations.read(tmp_path)["nap"] >= 0.05
    (tmp_path / ".dvc/tmp/trunkline/odd").write_text("no number")
    assert set(durations.read(tmp_path)) == {"nap"}
    durations.write(tmp_path, "nap", 200.4)
    assert run().stderr == ""


@pytest.mark.parametrize("at_a_terminal", [True, False])
def test_how_long_a_run_last_took_is_said_at_a_terminal_alone(tmp_path, monkeypatch, capsys, at_a_terminal):
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: at_a_terminal)
    durations.write(tmp_path, "nap", 200.4)
    with durations.measured(tmp_path, "nap"):
        pass
    assert capsys.readouterr().err == ("nap: took 3 min 20 s when it last ran here\n" if at_a_terminal else "")
    assert durations.read(tmp_path)["nap"] < 100


def test_who_reads_a_file_while_it_is_written_has_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    files.write_text(path, "old\n")
    with path.open() as reader:
        files.write_text(path, "new\n")
        assert reader.read() == "old\n"
    assert [each.read_text() for each in tmp_path.iterdir()] == ["new\n"]
