"""`trunkline doctor` as a whole: what is shown where nothing works, that nothing is written, and that it ends.

`TRUNKLINE_WRITE_GOLDEN=1 pytest tests/doctor/test_examine.py` writes the golden file anew.
"""

import json
import os
import platform
import re
import socket
from importlib.metadata import version
from pathlib import Path
from threading import Event

import pytest
from click.testing import CliRunner

from tests.forgeserver import running
from trunkline.adapters.mlflow import library
from trunkline.cli.doctor import doctor
from trunkline.core.errors import UserError
from trunkline.doctor import examine, findings, screen
from trunkline.show import terminal

GOLDEN = Path(__file__).parents[1] / "golden/doctor"

pytestmark = [
    pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


def run(*arguments, code):
    done = CliRunner().invoke(doctor, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


def files(folder):
    """Every file with its bytes, but for what DVC keeps of a folder that it opens."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".dvc/tmp" not in path.as_posix())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def broken(project, monkeypatch):
    """A project of which nothing works that can be broken, and secrets wherever there may be some."""
    library()  # a busy machine may take longer to import it than checks have
    project.git("config", "--unset", "user.name")
    project.git("config", "--unset", "user.email")
    project.git("remote", "remove", "origin")
    project.git("branch", "--move", "work")
    pins = "".join(
        f"{name}==0.1 \\\n    --hash=sha256:00\n" for name in ("no-such-one", "numpy", "no-such-two", "click")
    )
    project.write("locks/pipeline.txt", pins)
    url = f"{project.root}/nothing"
    project.write(".dvc/config", f"[core]\nremote = store\n['remote \"store\"']\nurl = {url}\n")
    monkeypatch.setattr("trunkline.doctor.programs.PROGRAMS", (("Node.js", ("no-such",), "workflows", "install it"),))
    with running() as server, socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        ports = {"MLFLOW": unheard.getsockname()[1], "FORGE": int(server.url.rpartition(":")[2])}
        environ = {
            "CI_API_V4_URL": f"{server.url}/api/v4",
            "CI_PROJECT_ID": "5",
            "GITLAB_TOKEN": "wrong-secret",
            "MLFLOW_TRACKING_URI": f"http://ada:secret@127.0.0.1:{ports['MLFLOW']}",
            "TRUNKLINE_SIGNING_KEY": "my-secret",
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield project, ports


def normal(text, project, ports):
    """What is told without what differs from run to run and from machine to machine."""
    text = re.sub(r"\b2\.\d+\.\d+\S*$", "GIT", text) if text[:2] == "2." else text
    known = {
        str(project.root): "PROJECT",
        f"is {version('numpy')}": "is NUMPY",
        f"is {version('click')}": "is CLICK",
        f"{platform.python_version()}, in": "PYTHON, in",
        **{f":{port}": f":{name}" for name, port in ports.items()},
    }
    for value, name in known.items():
        text = text.replace(value, name)
    return text


def test_where_nothing_works_each_part_says_so_and_what_to_do(broken):
    project, ports = broken
    before = files(project.root)
    shown = run("--json", code=1)
    assert "secret" not in shown
    assert files(project.root) == before
    told = [one for one in json.loads(shown)["checks"] if one["what"] != "processor"]
    found = [findings.Finding(**{key: normal(value, project, ports) for key, value in one.items()}) for one in told]
    text = terminal.plain(screen.screen(found), terminal.WIDTH)
    if os.environ.get("TRUNKLINE_WRITE_GOLDEN"):
        (GOLDEN / "broken.txt").write_text(text, encoding="utf-8")
    assert text == (GOLDEN / "broken.txt").read_text(encoding="utf-8")


def test_what_is_set_up_in_part_does_not_fail_and_nothing_is_written(project):
    project.write("locks/pipeline.txt", f"numpy=={version('numpy')}\n")
    before, there = files(project.root), files(project.store)
    told = json.loads(run("--json", code=0))
    states = {one["what"]: one["state"] for one in told["checks"]}
    assert told["works"] is True
    assert {states[what] for what in ("project", "trunk", "packages", "DVC", "remote", "MLflow", "signers")} == {
        "works"
    }
    assert {states[what] for what in ("merge driver", "forge", "cache", "signing key")} == {"not set up"}
    assert run(code=0).startswith("state        what ")
    assert files(project.root) == before
    assert files(project.store) == there


def test_outside_of_a_project_it_says_so_and_looks_at_what_needs_none(project, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.chdir(outside)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    told = {one["what"]: one for one in json.loads(run("--json", code=1))["checks"]}
    assert told["project"]["detail"] == f"there is no dvc.yaml in {outside}"
    assert {what for what, one in told.items() if one["state"] == "fails"} >= {"project", "repository"}
    assert {"git", "Python", "forge", "signing", "Node.js"} <= set(told)
    assert not {"DVC", "remote", "MLflow", "signers"} & set(told)


@pytest.mark.parametrize("state", ["works", "fails", "not set up", "not known"])
def test_only_what_fails_makes_the_answer_no(state):
    told = findings.content([findings.works("git", "2"), findings.Finding(state, "it", "", "do")])
    assert told["works"] == (state != "fails")


def test_a_check_that_waits_fails_and_holds_up_no_other(project):
    waiting = Event()

    def slow(setup):
        yield findings.works("first", "before it waits")
        waiting.wait()

    def quick(setup):
        yield findings.works("quick", "")

    setup = findings.Setup(project.root, "main", {})
    found = examine.side_by_side(setup, {"slow": slow, "quick": quick}, limit=0.3)
    waiting.set()
    assert [(one.what, one.state) for one in found] == [("first", "works"), ("slow", "fails"), ("quick", "works")]
    assert "no answer within" in found[1].detail


def test_an_error_that_explains_itself_is_a_finding_and_a_bug_is_not_hidden(project):
    def raising(error):
        def check(setup):
            yield findings.works("first", "")
            raise error

        return check

    setup = findings.Setup(project.root, "main", {})
    assert examine.side_by_side(setup, {"x": raising(UserError("it is wrong; mend it"))})[1:] == (
        findings.fails("x", "it is wrong", "mend it"),
    )
    with pytest.raises(ZeroDivisionError):
        examine.side_by_side(setup, {"x": raising(ZeroDivisionError())})
