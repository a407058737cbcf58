"""The model's history, read from real repositories.

`python -m tests.review.test_history` writes the golden files anew.
"""

import json
import os
import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner

from tests.cli.test_cli import trunkline
from trunkline.adapters.git import ancestry, repository
from trunkline.cli.log import log
from trunkline.core.errors import UserError
from trunkline.review.history import entries as history_entries
from trunkline.review.history import picture as history_picture
from trunkline.review.history.entries import Record

GOLDEN = Path(__file__).parents[1] / "golden/history"
IDENTITY = {"NAME": "Test", "EMAIL": "test@example.org"}
PARAMS = {
    "name": "flights",
    "evaluation": {"metrics": ["roc_auc", "brier"], "interval": {"confidence": 0.95}},
    "model": {"max_iter": 200, "columns": ["carrier", "origin", "destination", "hour", "distance"]},
    "window": {"train": "2013-01..2013-06", "holdout": "2013-07"},
}


class Repository:
    """A repository whose commits have the same hashes wherever it is made: a fixed identity, one commit a day."""

    def __init__(self, folder):
        self.folder, self.day = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments):
        who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()}
        when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"2026-03-{self.day:02d}T23:30:00-0500")
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command, environment = ["git", *arguments], os.environ | who | when | alone
        done = subprocess.run(command, cwd=self.folder, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, **contents):
        """Write files by their short names; a text as it is, None removes."""
        for name, value in contents.items():
            path = self.folder / PLACES[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            if value is None:
                path.unlink()
            elif isinstance(value, bytes):
                path.write_bytes(value)
            else:
                as_text = yaml.safe_dump if path.suffix in (".yaml", ".lock") else json.dumps
                path.write_text(value if isinstance(value, str) else as_text(value))

    def commit(self, subject, *arguments, **contents):
        self.day += 1
        self.write(**contents)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={subject}", *arguments)
        return self.git("rev-parse", "HEAD")


PLACES = {
    "params": "params.yaml",
    "lock": "dvc.lock",
    "registry": "models/registry.yaml",
    "metrics": "reports/metrics.json",
    "slices": "reports/slices.json",
    "gates": "reports/gates.json",
    "readme": "README.md",
    "bundle": "reports/bundle.json",
}


def params(**model):
    return PARAMS | {"model": PARAMS["model"] | model}


def measured(roc_auc, brier=0.2):
    """The two files that say what was measured."""
    values = {"roc_auc": roc_auc, "brier": brier}
    estimates = {name: {"value": value, "interval": [value - 0.02, value + 0.02]} for name, value in values.items()}
    return {
        "metrics": {"holdout": {**values, "n": 1000}},
        "slices": {"all": {"all": {"n": 1000, "metrics": estimates}}},
    }


def make(folder):
    """A trunk with all that can be told: versions, a merge, failed gates, broken and missing files, a rollback."""
    made = Repository(folder)
    made.commit("Only a page", readme="1")
    made.commit("First params, nothing measured", params=PARAMS, registry={"flights": {"production": None}})
    made.commit("First run: Zürich", **measured(0.74), lock={"run": 1})
    made.commit("A page that changes nothing", readme="2")
    gated = made.commit("Gates", gates={"verdict": "pass"}, params=params(max_iter=150))
    made.git("tag", "--annotate", "flights@v1", "--message=1", gated)
    made.git("tag", "flights@v9", gated)  # lightweight: no version
    made.git("tag", "--annotate", "flights@v01", "--message=no version", gated)
    made.commit("Production runs v1", registry={"flights": {"production": "v1"}})
    made.git("checkout", "--quiet", "-b", "side")
    made.commit("On the side", params=params(max_iter=1))
    columns = [*PARAMS["model"]["columns"][:4], "wind_speed", "visibility"]
    wider = params(max_iter=300, columns=columns, tol=1e-4) | {"window": {"train": "2013-01..2013-08", "test": "2013"}}
    made.commit("On the side again", params=wider, gates={"verdict": "fail"}, **measured(0.712345, 0.21))
    made.git("checkout", "--quiet", "main")
    made.day += 1
    made.git("merge", "--quiet", "--no-ff", "side", "--message=Merge the side")
    made.commit("Reports that are no JSON", metrics='{"holdout": {', gates="[" * 100_000, params="a: [")
    hostile = "[bold red]red[/] \x1b[2J\x1b]0;title\x07 \u202egnp\u200b \x9b31m [link=x]"
    fixed = made.commit(hostile, params=params(), gates={"verdict": "pass"}, **measured(0.76))
    made.git("tag", "--annotate", "flights@v10", "--message=10", fixed)
    made.git("tag", "--annotate", "flights@v2", "--message=2", fixed)
    made.commit("Back to nothing", registry={"flights": {"production": None}}, params=params(depth={"max": 3}))
    return made


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    return make(tmp_path_factory.mktemp("trunk"))


@pytest.fixture
def inside(trunk, monkeypatch):
    monkeypatch.chdir(trunk.folder)
    return trunk


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)


def test_a_metric_without_a_value_says_why_and_no_other_takes_its_place(tmp_path, monkeypatch):
    made = Repository(tmp_path)
    made.commit("Before", params=PARAMS, **measured(0.74))
    absent = {"roc_auc": {"value": None, "interval": None, "undefined": "none of 9 rows has the label 1"}}
    content = measured(0.74)
    content["metrics"]["holdout"]["roc_auc"] = None
    content["slices"]["all"]["all"]["metrics"] |= absent
    made.commit("Nothing late", **content)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(log, ["--json"], catch_exceptions=False)
    newest, before = json.loads(done.stdout)["entries"]
    why = "roc_auc is undefined: none of 9 rows has the label 1"
    assert (newest["measured"], newest["undefined"]) == (None, why)
    assert (before["measured"]["metric"], before["undefined"]) == ("roc_auc", None)
    assert why in CliRunner().invoke(log, [], catch_exceptions=False).stdout


def run(*arguments):
    done = CliRunner().invoke(log, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(*arguments):
    return json.loads(run("--json", *arguments))["entries"]


def refused(*arguments):
    with pytest.raises(UserError) as error:
        CliRunner().invoke(log, arguments, catch_exceptions=False)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(("golden", "arguments"), [("table.txt", ()), ("log.json", ("--json",))])
def test_the_history_reads_as_agreed(golden, arguments):
    text = run(*arguments)
    assert text == (GOLDEN / golden).read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 140 or golden == "log.json"


def test_an_entry_is_a_commit_of_the_first_parent_line_that_changed_the_model(inside):
    wanted = inside.git("log", "--first-parent", "--format=%H %s").splitlines()
    wanted = [line.split(" ")[0] for line in wanted if "page" not in line]
    assert [entry["commit"] for entry in told()] == wanted
    assert "On the side" not in run()
    assert [entry["subject"] for entry in told("side", "--limit", "1")] == ["On the side again"]
    assert [entry["subject"] for entry in told("flights@v1", "--limit", "2")] == ["Gates", "First run: Zürich"]


@pytest.mark.usefixtures("inside")
def test_a_limit_cuts_and_changes_nothing_of_what_is_left():
    every = told()
    assert len(every) == 8
    for limit in range(1, 10):
        assert told("--limit", str(limit)) == every[:limit]
    assert "the newest 3 entries; older ones: --limit 15" in run("-n", "3")
    assert "older ones" not in run("-n", "8")


@pytest.mark.usefixtures("inside")
def test_another_metric_can_be_chosen():
    merge = next(entry for entry in told("--metric", "brier") if entry["subject"] == "Merge the side")
    assert merge["measured"] == {
        "metric": "brier",
        "value": 0.21,
        "change": 0.01,
        "confidence": 0.95,
        "interval": [0.19, pytest.approx(0.23)],
    }
    assert "brier: smaller is better" in run("--metric", "brier")
    assert refused("--metric", "brier_") == "--metric brier_: no commit shown has it; did you mean 'brier'?"
    assert "no commit shown has it" in refused("--metric", "n")


def test_when_the_declared_metric_changes_every_value_is_named(empty):
    empty.commit("one", params=PARAMS, **measured(0.7))
    other = PARAMS | {"evaluation": {"metrics": ["unmeasured", "brier"], "interval": {"confidence": 0.9}}}
    empty.commit("two", params=other, **measured(0.7, 0.19))
    new, old = told()
    assert (new["measured"]["metric"], new["measured"]["change"]) == ("brier", -0.01)
    assert old["measured"]["metric"] == "roc_auc"
    text = run()
    assert re.search(r"gates +metric +interval ", text)
    assert "brier 0.1900" in text
    assert "roc_auc 0.7000" in text
    run("--svg", "picture.svg")
    picture = (empty.folder / "picture.svg").read_text()
    assert "brier on the holdout (smaller is better)" in picture
    assert "<!-- 0.7" not in picture


@pytest.mark.usefixtures("inside")
def test_a_hostile_subject_steers_no_terminal():
    for text in (run(), run("--json")):
        assert "[bold red]red[/] [2J" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e]", text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("params", b"\xff\xfe"),
        ("params", "- a\n- list"),
        ("params", "text"),
        ("params", "{1: a, b: !!timestamp x}"),
        ("params", "a: &a [*a]"),
        ("params", "{? [1, 2] : 3}"),
        ("params", "a: [{1: b, c: d}]\nevaluation: 1"),
        ("params", "name: [flights]\nevaluation: {metrics: {roc_auc: 1}, interval: x}"),
        ("params", f"a: 0x{'f' * 9999}"),
        ("metrics", "[]"),
        ("metrics", '{"holdout": {"roc_auc": NaN, "brier": true}}'),
        ("metrics", '{"holdout": {"roc_auc": "0.5", "brier": 1%s}}' % ("0" * 400)),
        ("metrics", "9" * 5000),
        ("slices", '{"all": {"all": {"metrics": {"roc_auc": {"interval": [0.9, 0.1]}}}}}'),
        ("slices", '{"all": {"all": {"metrics": {"roc_auc": {"interval": [0.9]}}}}}'),
        ("slices", '{"all": {"all": {"metrics": [1]}}}'),
        ("gates", '{"verdict": ["pass"]}'),
        ("gates", '"pass"'),
        ("registry", "flights: v1"),
        ("registry", "flights: {production: !!bool x}"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_blank(empty, name, content):
    good = {"params": PARAMS, "gates": {"verdict": "pass"}, "registry": {"flights": {"production": "v1"}}}
    empty.commit("good", **good, **measured(0.7))
    empty.commit("broken", **{name: content}, lock={"run": 2})
    broken, fine = told()
    assert (fine["verdict"], fine["measured"]["value"], fine["production"]) == ("pass", 0.7, "v1")
    measure = broken["measured"] or {"interval": None}
    lost = {
        "metrics": broken["measured"],
        "slices": measure["interval"],
        "gates": broken["verdict"],
        "registry": broken["production"],
        "params": broken["measured"],
    }
    assert lost[name] is None
    assert not broken["production_changed"]
    run()
    empty.commit("good again", **good, **measured(0.7))
    assert told()[0]["measured"]["value"] == 0.7
    run("--svg", "x.svg")


def test_production_runs_its_version_and_not_yet_the_candidate_of_a_rollout(empty):
    empty.commit("before", registry={"flights": {"production": "v1"}})
    empty.commit("begun", registry={"flights": {"production": {"version": "v1", "shadow": "v2"}}})
    empty.commit("done", registry={"flights": {"production": {"version": "v2", "hold": ["v3"]}}})
    entries = [(entry["production"], entry["production_changed"]) for entry in told("--all")]
    assert entries == [("v2", True), ("v1", False), ("v1", True)]


def test_a_folder_and_a_link_in_the_place_of_a_file_are_blanks(empty):
    empty.commit("good", params=PARAMS, **measured(0.7))
    empty.write(params=None, metrics=None)
    (empty.folder / "params.yaml").mkdir()
    (empty.folder / "params.yaml/file").write_text("a: 1")
    (empty.folder / "reports/metrics.json").symlink_to("nowhere")
    empty.commit("odd", gates={"verdict": "fail"})
    odd = told()[0]
    assert (odd["measured"], odd["config"], odd["verdict"]) == (None, [], "fail")


def test_keys_are_shortened_for_people_only(empty):
    empty.commit("one", params={"a": "x" * 90 + "1" + "y" * 90, "k" * 99: 1, "e": "", "t": "1", "[b]": 1})
    empty.commit("two", params={"a": "x" * 90 + "2" + "y" * 90, "k" * 99: 2, "e": "[i]\x1b", "t": 1, "[b]": {"c": 1}})
    text = run("--all")
    assert f"a …{'x' * 12}1{'y' * 11}… → …{'x' * 12}2{'y' * 11}…" in text
    assert "[b] 1 → (1 value)" in text
    assert 'e "" → [i]' in text
    assert "and 2 more" in text
    changes = {change["key"]: (change["before"], change["after"]) for change in told()[0]["config"]}
    assert changes["a"] == ("x" * 90 + "1" + "y" * 90, "x" * 90 + "2" + "y" * 90)
    assert changes["t"] == ("1", 1)


def test_what_changed_nothing_of_the_model_is_one_line(empty):
    empty.commit("first", params=PARAMS, bundle={"digest": "a"}, **measured(0.7))
    for iterations in (150, 160, 170):
        empty.commit(f"not run: {iterations}", params=params(max_iter=iterations))
    empty.commit("another model", bundle={"digest": "b"}, lock={"run": 1})
    empty.commit("last", lock={"run": 2})
    shown = [line.split(maxsplit=1)[0] for line in run().splitlines()[1:-1]]
    last, newest, *_, oldest = told()
    assert shown == ["…", newest["short"], "…", oldest["short"]]
    assert "1 commit with the same model" in run()
    assert "3 commits with the same model" in run()
    assert "not run" not in run()
    assert "not run: 160" in run("--all")
    assert [entry["notable"] for entry in (last, newest)] == [False, True]


@pytest.mark.parametrize("count", [3, 300])
def test_a_picture_of_any_history_fits_a_page_and_names_the_newest(count):
    def record(number):
        files = {name: json.dumps(content) for name, content in measured(0.7 + number / 1000).items()}
        contents = {
            Path(PLACES[name]): text.encode() for name, text in ({"params": json.dumps(PARAMS)} | files).items()
        }
        commit = ancestry.Commit(f"{number:040d}", f"{number:07d}", "Test", "2026-03-01T00:00:00Z", "a run", "a run")
        return Record(commit, (f"flights@v{number}",), contents)

    drawn = history_picture.draw(history_entries.of_one_metric([record(n) for n in range(count, 0, -1)], count))
    assert float(re.search(r'width="([\d.]+)pt"', drawn)[1]) <= 12.5 * 72
    assert f"<!-- flights@v{count} -->" in drawn
    assert 3 <= drawn.count("<!-- flights@v") <= 70


def test_a_project_in_a_folder_of_its_repository_has_its_own_history(empty, monkeypatch):
    empty.commit("of another", params=PARAMS, **measured(0.9))
    for name, content in {"params": PARAMS, **measured(0.6)}.items():
        empty.write(**{name: content})
        path = empty.folder / "project" / PLACES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        (empty.folder / PLACES[name]).rename(path)
    empty.git("checkout", "--quiet", ".")
    empty.commit("ours")
    monkeypatch.chdir(empty.folder / "project")
    (ours,) = told()
    assert (ours["subject"], ours["measured"]["value"]) == ("ours", 0.6)


@pytest.mark.usefixtures("inside")
def test_git_is_asked_a_few_times_whatever_the_length(monkeypatch):
    calls = []
    real = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda command, **options: (calls.append(command), real(command, **options))[1]
    )
    told("--limit", "2")
    few = len(calls)
    told("--limit", "7")
    assert len(calls) == 2 * few <= 10, "a process per commit or file"


@pytest.mark.usefixtures("inside")
def test_the_users_git_configuration_changes_nothing(monkeypatch, tmp_path):
    wanted = run("--json")
    (tmp_path / "config").write_text(
        "[log]\nshowSignature = true\ndecorate = full\ndate = relative\n[color]\nui = always\n[format]\npretty = full\n"
        "[i18n]\nlogOutputEncoding = latin-1\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert run("--json") == wanted


def test_what_has_no_history_is_told_in_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path / "none")
    assert refused().startswith("this folder is in no repository that git can read")
    made = Repository(tmp_path / "made")
    monkeypatch.chdir(made.folder)
    assert refused() == "HEAD: there is no commit yet; run: git commit"
    made.commit("page", readme="1")
    assert "no commit changed any of params.yaml" in refused()
    for name in ("nowhere", "main..main", "HEAD:README.md", "", "x\x1b[2J"):
        assert refused(name).startswith(f"{name.replace(chr(27), '')}: no commit has this name")
    assert refused("--", "--all").startswith("--all: no commit has this name")


def test_a_refusal_exits_2_with_one_line_and_without_git_too(tmp_path):
    nowhere = "import os; os.environ['GIT_CEILING_DIRECTORIES'] = os.path.dirname(os.getcwd())"
    for before in (nowhere, f"{nowhere}; os.environ['PATH'] = os.getcwd()"):
        done = trunkline("log", cwd=tmp_path, before=before)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith("error: this folder is in no repository")


def test_a_shallow_clone_shows_what_it_knows_and_says_where_it_ends(trunk, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    trunk.git("clone", "--quiet", "--depth", "3", trunk.folder.as_uri(), str(clone))
    with monkeypatch.context() as patch:
        patch.chdir(trunk.folder)
        wanted = told("--limit", "2")
    monkeypatch.chdir(clone)
    assert told("--limit", "2") == wanted
    for limit in ("3", "20"):
        message = refused("--limit", limit)
        assert "the clone is shallow" in message
        assert message.endswith("run: git fetch --unshallow")
    trunk.git("-C", str(clone), "fetch", "--quiet", "--unshallow")
    assert len(told()) == 8


@pytest.mark.usefixtures("inside")
def test_the_picture_is_the_same_twice_and_names_every_version(tmp_path):
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for picture in pictures:
        assert run("--svg", str(picture)) == run()
    one, two = (picture.read_bytes() for picture in pictures)
    assert one == two
    text = one.decode()
    for label in ("flights@v1", "flights@v2", "flights@v10", "gates pass", "gates fail", "no gates", "95% interval"):
        assert f"<!-- {label} -->" in text, label
    for label in ("roc_auc, commit by commit", "roc_auc on the holdout (larger is better)", "commit, oldest first"):
        assert f"<!-- {label} -->" in text, label
    assert "flights@v9" not in text
    assert all(entry["short"] in text for entry in told())


@pytest.mark.usefixtures("inside")
def test_the_picture_depends_on_no_setting_and_is_of_one_metric(tmp_path):
    import matplotlib as mpl

    run("--svg", str(tmp_path / "one.svg"))
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 20}):
        run("--svg", str(tmp_path / "two.svg"), "--json")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    run("--svg", str(tmp_path / "brier.svg"), "--metric", "brier")
    assert "brier on the holdout (smaller is better)" in (tmp_path / "brier.svg").read_text()


@pytest.mark.usefixtures("inside")
def test_the_picture_marks_each_verdict_and_skips_what_was_not_measured():
    commits = ancestry.first_parents(Path(), "HEAD", history_entries.CHANGED, limit=50)
    files = repository.files_at(Path(), [commit.hash for commit in commits], history_entries.READ)
    entries = history_entries.of_one_metric([Record(commit, (), files[commit.hash]) for commit in commits], 50)
    verdicts = [entry.verdict for entry in entries if entry.measured]
    assert verdicts == ["pass", "pass", "fail", "pass", "pass", None]
    alone = [replace(entry, verdict=None) for entry in entries]
    assert "gates fail" not in history_picture.draw(alone)
    (line,) = re.findall(r'<path d="([^"]*)"[^>]*stroke: #aaaaaa', history_picture.draw(entries))
    assert line.count("M") == 2, "a line that breaks where nothing was measured"
    odd = history_picture.draw([replace(entry, versions=(r"$\frac$ --> <b>漢</b>",)) for entry in entries])
    assert not [node for node in ElementTree.fromstring(odd).iter() if node.tag.rpartition("}")[2] == "b"]


def test_nothing_measured_is_nothing_to_draw(empty):
    empty.commit("one", params=PARAMS)
    assert refused("--svg", "x.svg").startswith("there is nothing to draw")
    assert not (empty.folder / "x.svg").exists()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(make(Path(folder)).folder)
        for golden, arguments in {"table.txt": (), "log.json": ("--json",)}.items():
            (GOLDEN / golden).write_text(run(*arguments), encoding="utf-8")
        os.chdir("/")
