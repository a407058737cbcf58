"""`trunkline trace`, on real repositories; `python -m tests.lineage.test_trace` writes the golden files anew."""

import json
import re
import tempfile
import time
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.lineage.conftest import flights
from tests.releases import NAME, RAW, START, signers
from trunkline.adapters.git import process
from trunkline.cli.trace import trace
from trunkline.conf.registry import NOTHING, Candidate, Declaration
from trunkline.conf.versions import Version
from trunkline.core.errors import UserError
from trunkline.deploy.history import DeclaredChange
from trunkline.lineage import predictions
from trunkline.lineage import stays as lineage_stays
from trunkline.release.provenance import ReviewFacts
from trunkline.release.releases import Dated as Release
from trunkline.serve.labels import store
from trunkline.serve.labels.identity import Key
from trunkline.serve.labels.store import About
from trunkline.serve.prediction_log.place import Place

GOLDEN = Path(__file__).parents[1] / "golden/lineage"


def run(*arguments, code=0):
    done = CliRunner().invoke(trace, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


def told(*arguments, code=0):
    return json.loads(run(*arguments, "--json", code=code))


def refused(*arguments, code=2):
    with pytest.raises(UserError) as error:
        CliRunner().invoke(trace, arguments, catch_exceptions=False)
    assert error.value.exit_code == code
    assert "\n" not in str(error.value)
    return str(error.value)


def log(path, *rows):
    """A prediction log, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    elif path.suffix == ".csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    return str(path)


def row(digest, request="r-1", **more):
    return {
        "request_id": request,
        "digest": digest,
        "time": "2026-03-01T18:00:00Z",
        "score": 0.25,
        "origin": "JFK",
    } | more


def listed(inside):
    place = inside.root / f".dvc/cache/files/md5/{RAW[:2]}/{RAW[2:]}.dir"
    place.parent.mkdir(parents=True)
    place.write_text(
        json.dumps([{"md5": "1" * 32, "relpath": "planes.csv"}, {"md5": "2" * 32, "relpath": "flights.csv"}])
    )


def golden(inside):
    """What the golden files show: a prediction of the second version, with the list of its data."""
    listed(inside)
    return ("r-1", "--log", log(Path("logs/a.jsonl"), row(told("v2")["chain"]["digest"])))


@pytest.mark.parametrize(("name", "options"), [("trace.txt", ()), ("trace.json", ("--json",))])
def test_a_prediction_is_traced_as_agreed(inside, name, options):
    text = run(*golden(inside), *options)
    assert text == (GOLDEN / name).read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 140 or options
    assert len(text.splitlines()) < 45 or options


def test_every_name_of_a_version_leads_to_it(inside):
    first = told("v1")
    digest, commit = first["chain"]["digest"], first["commit"]["hash"]
    for name in (f"{NAME}@v1", digest, digest[:7], commit, commit[:9], f"{NAME}@v1^{{commit}}"):
        found = told(name)
        assert (found["chain"], found["commit"], found["holds"]) == (first["chain"], first["commit"], True), name
    assert [told(name)["kind"] for name in ("v1", digest[:7], commit)] == ["version", "digest", "commit"]


def test_a_version_ran_where_and_when_it_was_declared(inside):
    runs = [
        (one["environment"], one["since"][5:16], (one["until"] or "")[5:16], one["pull_request"])
        for one in told("v1")["runs"]
    ]
    assert runs == [
        ("staging", "03-01T15:00", "03-01T20:00", None),
        ("production", "03-01T17:00", "03-01T22:00", "#12"),
        ("production", "03-02T00:00", "", "#15"),
    ]
    inside.declare(production=None).commit()
    assert told("v1")["runs"][-1]["until"] is not None


def test_a_commit_that_is_no_version_is_placed_between_them(inside):
    found = told("change-13")
    assert (found["commit"]["after"], found["commit"]["first_in"], found["chain"]) == ("v1", "v2", None)
    assert found["review"] == {
        "number": 13, "source": "message", "url": None, "author": None, "approvers": None, "merged_by": None
    }  # fmt: skip
    assert "between v1 and v2, which is the first that holds it" in run("change-13")
    assert "set GITHUB_REPOSITORY" in run("change-13")
    assert "in no version yet; the newest before it is v2" in run("HEAD")
    inside.git("checkout", "--quiet", "-b", "side")
    inside.commit("Never merged")
    assert "not in the trunk's history" in run("side")


def test_a_bundle_that_was_never_released_is_that_of_a_commit_or_of_the_working_tree(inside):
    inside.git("checkout", "--quiet", "-b", "side")
    inside.params(model__max_iter=300).build().commit("The same bundle, never merged")
    inside.git("checkout", "--quiet", "main")
    inside.params(model__max_iter=300).build().merge(16, "Not released")
    built, merge = json.loads(inside.read("reports/bundle.json"))["digest"], told("HEAD")
    for name in (built, built[:9]):
        found = told(name)
        assert (found["kind"], found["holds"], found["chain"]) == ("digest", True, None)
        assert (found["commit"]["subject"], found["commit"]["on_trunk"]) == ("Not released", True)
        assert (found["review"]["number"], found["verdict"]) == (16, merge["verdict"])
        assert found["notes"] == [
            f"no version announces the bundle {built}; this commit reports it, and nobody has signed that"
        ]
    asked = told("r-1", "--log", log(Path("logs/a.jsonl"), row(built)))
    assert (asked["kind"], asked["commit"]["hash"]) == ("request", told(built)["commit"]["hash"])
    inside.params(model__max_iter=301).build()
    here = json.loads(inside.read("reports/bundle.json"))["digest"]
    said = told(here[:9], code=1)
    assert said["notes"][0].startswith(f"the bundle {here} is that of the working tree: no commit here reports it")
    inside.git("checkout", "--quiet", "-b", "other")
    inside.commit("Never merged")
    assert told(here)["commit"]["on_trunk"] is False


def test_what_a_digest_comes_before_is_said(inside, monkeypatch):
    digest = told("v2")["chain"]["digest"]
    monkeypatch.setattr("trunkline.adapters.git.ancestry.with_prefix", lambda folder, prefix: (prefix.ljust(40, "0"),))
    assert "a digest comes first" in run(digest[:8])


def test_names_that_mean_too_much_or_nothing(inside):
    assert (
        refused("v7", code=1) == f"there is no version {NAME}@v7 here (the newest is v2); run: git fetch origin --tags"
    )
    assert "a prediction's request id is looked for in --log" in refused("nobody\x1b[2J", code=1)
    assert "\x1b" not in refused("nobody\x1b[2J", code=1)
    there = log(Path("logs/a.csv"), row("0" * 64))
    assert refused("r-2", "--log", "logs", code=1).endswith(f"and no prediction in {there}")
    assert "no prediction log is there" in refused("r-2", "--log", "gone/*.parquet")
    assert "there is no branch 'trunk' here" in refused("v1", "--trunk", "trunk")
    assert "no version here announces the bundle 000000000000" in run("r-1", "--log", "logs", code=1)
    assert told("0" * 64, code=1)["holds"] is False


def test_a_prefix_of_several_commits_is_refused_with_the_candidates(inside):
    commits = inside.git("rev-list", "--all").split()
    seen: dict[str, str] = {}
    while True:
        commit = inside.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", stdin=str(len(commits)))
        commits.append(commit)
        if commit[:4] in seen and commit not in seen.values():
            break
        seen[commit[:4]] = commit
    assert "begins the hashes of several commits: " in refused(commit[:4])
    assert seen[commit[:4]][:12] in refused(commit[:4])


def test_a_prefix_of_several_digests_is_refused_with_the_candidates(made, monkeypatch):
    monkeypatch.chdir(made.root)
    digests = {"ab" * 32: (Version(NAME, 1),), "abababa" + "0" * 57: (Version(NAME, 2),)}
    monkeypatch.setattr("trunkline.release.releases.Releases.digests", digests)
    assert "abababa000000000 (v2), abababababababab (v1); name more digits" in refused("abababa")


def test_the_outcome_of_a_prediction_is_shown_with_its_arrival_and_what_it_was_before(inside):
    """By its id, or by the key that its inputs have; the files of outcomes are no predictions."""
    digest = told("v2")["chain"]["digest"]
    log(Path("logs/a.jsonl"), row(digest), row(digest, "r-2", origin="EWR"))
    key = Key((("origin", "text"),))
    outcomes = [("r-2", 0, None, True, 3), ("r-2", 0, None, False, 2), (None, None, '{"origin": "JFK"}', True, 1)]
    about = About("late", "binary", key)
    moment = datetime(2026, 3, 4, tzinfo=UTC)
    columns = [(*whose, late, moment.replace(hour=hour), moment) for *whose, late, hour in outcomes]
    rows = pl.DataFrame(columns, about.schema, orient="row")
    store.write(Place("logs"), about, rows, moment)
    lines = run("r-2", "--log", "logs").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("outcome"))
    assert [line.removeprefix("outcome").strip() for line in lines[start : start + 2]] == [
        "true, arrived 2026-03-04T03:00:00+00:00",
        "before it was corrected: false, arrived 2026-03-04T02:00:00+00:00",
    ]
    assert "outcome        true, arrived 2026-03-04T01:00:00+00:00" in run("r-1", "--log", "logs/*.jsonl")
    assert told("r-1", "--log", "logs")["prediction"]["outcomes"] == [
        {"value": True, "arrived": "2026-03-04T01:00:00+00:00", "imported": "2026-03-04T00:00:00+00:00"}
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
@pytest.mark.parametrize("first", [True, False])
def test_a_column_of_another_case_is_another_column(tmp_path, name, first):
    """What passes through may be called Request_ID or SCORE: no answer is that of another row."""
    others = [{"Request_ID": "2", "SCORE": 9.0}, {"Request_ID": "1", "SCORE": 8.0}]
    ours = [row("d" * 64, "1", score=0.1), row("d" * 64, "2", score=0.2)]
    rows = [other | own if first else own | other for other, own in zip(others, ours, strict=True)]
    found = predictions.find([log(tmp_path / name, *rows)], "1")
    assert (found.score, str(found.inputs["Request_ID"]), float(found.inputs["SCORE"])) == (0.1, "2", 9.0)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_log_of_any_form_is_read(made, tmp_path, name):
    rows = [row("d" * 64, str(number), delay=number) for number in range(3)]
    path = log(tmp_path / "day=1" / name, *rows)
    for where in (path, str(tmp_path), str(tmp_path / "*/a.*")):
        found = predictions.find([where], "1")
        assert (found.digest, found.score, found.time) == ("d" * 64, 0.25, "2026-03-01T18:00:00Z")
        assert {key: str(value) for key, value in found.inputs.items()} == {"delay": "1", "origin": "JFK"}
    assert predictions.find([path], "01") is None


def test_a_log_s_odd_rows_stop_nothing(tmp_path):
    odd = {
        "request_id": "o\x1b[31m",
        "digest": "d\x1b[2J",
        "time": 1772388000,
        "score": "high",
        "in\u202eput": {"a": "\x07"},
    }
    path = tmp_path / "we[i]rd*.jsonl"
    path.write_text(f'{{"half": \nnot json\n{json.dumps(odd)}\n{json.dumps(row("e" * 64))}\n{{"request_id": "r-')
    found = predictions.find([str(path)], "o\x1b[31m")
    assert (found.request, found.digest, found.score, found.time) == (
        "o[31m",
        "d[2J",
        None,
        "2026-03-01T18:00:00.000+00:00",
    )
    assert found.inputs == {"input": '{"a": "\\u0007"}'}
    log(tmp_path / "again.jsonl", row("f" * 64))
    with pytest.raises(UserError, match=r"several bundles have this id: eeeeeeeeeeee in .*, ffffffffffff in "):
        predictions.find([str(tmp_path)], "r-1")
    log(tmp_path / "no.csv", {"id": "r-1"})
    with pytest.raises(UserError, match="has no column request_id"):
        predictions.find([str(tmp_path / "no.csv")], "r-1")


def moved(project):
    project.tag(f"{NAME}@v1", project.message(f"{NAME}@v1"), "HEAD")
    return "the tag was moved"


def foreign(project):
    project.params(model__max_iter=7).build().merge(20, "Foreign")
    project.release(ReviewFacts(20, "mallory", ("bob",)), signer="mallory", number=1)
    return "signed by the key"


def revoked(project):
    project.params(deploy__signers=signers("other")).merge(21, "The key is not believed any more")
    return "which conf/deploy does not declare, or no longer does"


def edited(project):
    """The verdict is edited, and the very message of the version is put on the edited commit."""
    message = project.message(f"{NAME}@v1")
    project.git("checkout", "--quiet", f"{NAME}@v1^{{commit}}")
    gates = "reports/gates.json"
    edit = project.write(gates, project.read(gates).replace("0.76", "0.99")).commit("Better")
    project.git("checkout", "--quiet", "main")
    project.tag(f"{NAME}@v1", message, edit)
    return "reports/gates.json: its sha256 is"


def bare(project):
    project.tag(f"{NAME}@v1", "Nothing to see\n", f"{NAME}@v1^{{commit}}")
    return "the tag's message is not one of trunkline release"


@pytest.mark.parametrize("breach", [moved, foreign, revoked, edited, bare])
def test_a_broken_chain_is_shown_and_the_answer_is_no(inside, breach):
    said = breach(inside)
    found = told("v1", code=1)
    assert said in found["chain"]["refused"]
    assert (found["chain"]["signer"], found["holds"]) == (None, False)
    text = " ".join(run("v1", code=1).split())
    assert "signer refused: " in text
    if found["review"]:
        assert found["review"]["source"] == "tag" or breach is bare


def test_it_is_traced_in_a_bare_clone_and_a_working_tree_adds_no_signer(inside, tmp_path, monkeypatch):
    wanted = told("v2")
    (inside.root / "params.yaml").write_text("deploy: {signers: {}}")
    assert told("v2") == wanted
    monkeypatch.chdir(inside.clone(tmp_path / "bare.git", "--bare").root)
    assert told("v2") == wanted


def test_files_that_cannot_be_read_are_links_that_are_not_known(inside):
    broken = {"params.yaml": "a: [", "dvc.lock": "[]", "pyproject.toml": "]"}
    for path, text in (broken | {"reports/gates.json": "{", "reports/dataset.json": "7"}).items():
        inside.write(path, text)
    (inside.root / "locks/pipeline.txt").unlink()
    commit = inside.commit("broken")
    inside.git("reset", "--quiet", "--hard", "HEAD^")
    found = told(commit)
    assert [found[name] for name in ("verdict", "declared", "rows", "environment", "data")] == [None] * 4 + [[]]
    run(commit)


def test_a_hostile_repository_steers_no_terminal(inside):
    evil = "\x1b[2J[red]x\u202e"
    gates = json.loads(inside.params(model__max_iter=evil).build().read("reports/gates.json"))
    gates["gates"][0] |= {"id": f"ranks{evil}", "reason": evil}
    inside.write("reports/gates.json", gates).commit(f"Evil {evil}", who="M\x1b[1mallory")
    for text in (run("HEAD"), run("HEAD", "--json")):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "[red]x" in run("HEAD")


def test_a_long_history_costs_no_more_processes(inside, monkeypatch):
    calls = []
    for name in ("stdout", "output"):
        real = getattr(process, name)
        for module in ("repository", "ancestry"):
            monkeypatch.setattr(
                f"trunkline.adapters.git.{module}.{name}",
                lambda *given, real=real, **more: calls.append(given) or real(*given, **more),
            )
    told("v2")
    few = len(calls)
    calls.clear()
    lines = []
    for number in range(500):
        lines += ["commit refs/heads/main", f"committer A <a@b> {1772400000 + number} +0000", "data 1", "x"]
        lines += [f"from {inside.git('rev-parse', 'HEAD')}"] * (number == 0) + [""]
        if number % 10 == 0:
            lines += [
                f"tag {NAME}@v{number + 10}",
                "from refs/heads/main",
                "tagger A <a@b> 1772400000 +0000",
                "data 1",
                "x",
            ]
    inside.git("fast-import", "--quiet", "--force", stdin="\n".join(lines) + "\n")
    start = time.perf_counter()
    assert told("v2")["holds"]
    assert time.perf_counter() - start < 2
    assert len(calls) <= few < 30


def change(environment, hour, before, after):
    date = (START + timedelta(hours=hour, minutes=1)).isoformat()
    return DeclaredChange("c" * 40, date, "a", None, environment, Declaration(before), Declaration(after))


@given(st.lists(st.sampled_from(["release", "a", "b"]), max_size=12), st.data())
def test_an_environment_runs_one_version_at_a_time_and_what_is_declared_last(steps, data):
    now, changes, releases = {"a": None, "b": None}, [], []
    for hour, step in enumerate(steps):
        if step == "release":
            releases.append(Release(Version("m", len(releases) + 1), (START + timedelta(hours=hour)).isoformat()))
        else:
            after = data.draw(st.sampled_from([None, "latest", *range(1, len(releases) + 1)]))
            changes.append(change(step, hour, now[step], after))
            now[step] = after
    stays = lineage_stays.stays(reversed(changes), releases)
    for name, desired in now.items():
        ours = [stay for stay in stays if stay.environment == name]
        for one, other in pairwise(ours):
            assert datetime.fromisoformat(one.until) <= datetime.fromisoformat(other.since)
        wanted = (
            f"v{len(releases)}"
            if desired == "latest" and releases
            else f"v{desired}"
            if isinstance(desired, int)
            else None
        )
        assert [stay.version for stay in ours if stay.until is None] == ([wanted] if wanted else [])


def test_a_candidate_stays_beside_the_version_from_its_first_step_to_its_end():
    shadow, canary, more = Candidate("shadow", 2), Candidate("canary", 2, 5.0), Candidate("canary", 2, 25.0)
    course = [
        None,
        Declaration(1),
        *(Declaration(1, candidate) for candidate in (shadow, canary, more)),
        Declaration(2),
    ]
    dates = [(START + timedelta(hours=hour)).isoformat() for hour in range(len(course))]
    changes = [
        DeclaredChange(str(hour), dates[hour], "a", f"#{hour}", "a", course[hour - 1] or NOTHING, course[hour])
        for hour in range(1, len(course))
    ]
    stays = lineage_stays.stays(reversed(changes), [])
    assert [(stay.version, stay.how, stay.since, stay.until, stay.pull_request) for stay in stays] == [
        ("v1", "declared", dates[1], dates[5], "#1"),
        ("v2", "shadow", dates[2], dates[3], "#2"),
        ("v2", "canary", dates[3], dates[5], "#3"),
        ("v2", "declared", dates[5], None, "#5"),
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        project = flights(Path(folder) / "project")
        with chdir(project.root):
            arguments = golden(project)
            (GOLDEN / "trace.txt").write_text(run(*arguments), encoding="utf-8")
            (GOLDEN / "trace.json").write_text(run(*arguments, "--json"), encoding="utf-8")
