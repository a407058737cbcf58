"""`trunkline labels import --open` on the rig's forge: a pinned file of a source, in one pull request."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.retrain import project as made
from tests.rig.repository import git
from tests.rig.rig import rigged
from tests.serve.labelling.project import run
from trunkline.core.errors import OutsideError, UserError
from trunkline.pipeline.compose.compose import compose

ME = "labeller[bot]"
KEY = "year,month,day,carrier,flight,sched_dep_time"
SAID = f"""\
{KEY},note,late,who,at
2013,8,1,UA,1545,515,x,true,anna,2026-11-02T00:01:00Z
2013,8,1,UA,1545,515,x,true,ben,2026-11-02T00:02:00Z
2013,8,1,UA,1714,529,x,true,anna,2026-11-02T00:01:00Z
2013,8,1,UA,1714,529,x,false,ben,2026-11-02T00:01:00Z
2013,8,1,AA,1141,540,x,perhaps,anna,2026-11-02T00:01:00Z
"""
FILE = f"{KEY},late,annotated_at\n2013,8,1,UA,1545,515,true,2026-11-02T00:02:00Z\n"
ASKED = ("labels", "import", "back.csv", "--annotator", "who", "--at", "at")
DIGEST = hashlib.sha256(FILE.encode()).hexdigest()
BRANCH = f"labels/{DIGEST[:12]}"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project, with a source for labels that has no file yet."""
    folder = tmp_path_factory.mktemp("project")
    conf = shutil.copytree(ROOT / "conf", folder / "conf")
    types = dict.fromkeys(KEY.split(","), "integer") | {"carrier": "text", "late": "boolean", "annotated_at": "time"}
    columns = {name: {"type": kind, "description": "What it is"} for name, kind in types.items()}
    table = {"labelled": {"privacy": "public", "unique": KEY.split(","), "columns": columns}}
    _add(conf / "data/flights.yaml", "sources:\n", '  labelled: {kind: files, url: labelled/, glob: "*.csv"}\n')
    _add(
        conf / "contract/flights.yaml",
        "tables:\n",
        "  " + yaml.safe_dump(table, sort_keys=False).replace("\n", "\n  ").rstrip(" "),
    )
    (folder / "params.yaml").write_text(yaml.safe_dump(dict(compose(conf).content), sort_keys=False))
    (folder / "models").mkdir()
    shutil.copy(ROOT / "models/registry.yaml", folder / "models")
    git(folder, "init", "--quiet", "--initial-branch=main")
    made.commit(folder, "The project")
    return folder


@pytest.fixture
def rig(project, tmp_path, monkeypatch):
    """The forge with the project on it, and a clone in which one works."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    with rigged(tmp_path / "rig") as forge:
        forge.import_(project)
        clone = forge.clone(tmp_path / "clone")
        token = forge.state.grant(ME, dict.fromkeys(("contents", "pull-requests"), "write"))
        for name, value in forge.variables(token).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(clone)
        Path("back.csv").write_text(SAID)
        yield forge


def opened(code=1):
    return json.loads(run(*ASKED, "--open", "labelled", "--json", code=code))


def test_what_people_agree_on_is_one_more_pinned_file_in_one_pull_request(rig):
    rig.forge.fail("POST", "/pulls$", 1, 422, after_effect=True)
    with pytest.raises(OutsideError):
        opened()
    answer = opened()
    (pull,) = rig.state.pulls.values()
    assert (answer["what"], answer["number"], answer["branch"]) == ("opened", pull.number, BRANCH)
    assert (pull.head_ref, pull.base_ref, pull.title) == (BRANCH, "main", "data: 1 labels by people, in labelled")
    written = git(rig.upstream.path, "show", f"{BRANCH}:labelled/labels-{DIGEST[:12]}.csv")
    assert written == FILE.strip()
    declared = yaml.safe_load(git(rig.upstream.path, "show", f"{BRANCH}:conf/data/flights.yaml"))
    assert declared["sources"]["labelled"]["files"] == {f"labels-{DIGEST[:12]}.csv": DIGEST}
    for line in ("Krippendorff's alpha 0.000", "| 2 | 1 says false, 1 says true |", "| 3 | refused: late: is not true"):
        assert line in pull.body
    rig.push("main", {"README.md": "more\n"}, wait=False)
    assert opened()["number"] == pull.number
    assert len(rig.state.pulls) == 1
    rig.push("main", lambda folder: git(folder, "merge", "--quiet", pull.head_sha), wait=False)
    assert opened() == {"what": "already", "source": "labelled"}


def test_without_a_forge_it_is_a_local_branch_or_only_shown(rig):
    shown = run(*ASKED, "--open", "labelled", "--dry-run", code=1)
    assert f"+++ b/labelled/labels-{DIGEST[:12]}.csv" in shown
    assert git(Path(), "branch", "--list", "labels/*") == ""
    assert f"run: git push origin {BRANCH}" in run(*ASKED, "--open", "labelled", "--local", code=1)
    assert git(Path(), "show", f"{BRANCH}:labelled/labels-{DIGEST[:12]}.csv") == FILE.strip()
    assert rig.state.pulls == {}
    assert not Path("log").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("labeled", "no source 'labeled' in conf/data; did you mean 'labelled'"),
        ("weather", r"data\.sources\.weather: is no folder of files of the project"),
    ],
)
def test_what_cannot_take_a_file_is_named(rig, source, message):
    with pytest.raises(UserError, match=message):
        run(*ASKED, "--open", source, "--local")


def test_a_column_that_did_not_come_back_is_named(rig):
    Path("back.csv").write_text(SAID.replace("carrier,flight", "carrier,flug"))
    with pytest.raises(UserError, match=r"column flight: is missing"):
        run(*ASKED, "--open", "labelled", "--local")
    assert "--open: is for answers of annotators" in run("labels", "import", "back.csv", "--open", "labelled", code=2)


def _add(path: Path, after: str, text: str) -> None:
    content = path.read_text()
    assert after in content
    path.write_text(content.replace(after, after + text, 1))
