"""Signed records of what stages gave: what they save, and who tries to have a forged result believed by one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.pipelines import OUTS, Clone, create
from tests.releases import private, signers
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.core.errors import UserError
from trunkline.release import provenance, records, signing
from trunkline.release.records import StageRecord
from trunkline.review import kind

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

ENVIRONMENTS = {"production": {"merge": "approval"}}
TOUCHED = ["rows", "train", "score", "metrics", "gate"]  # by another `rows`
AGAIN = "computed again, since nobody trusted has: "


def declare(clone: Clone, **recorders: Any) -> None:
    path = clone.root / "params.yaml"
    deploy = {"environments": ENVIRONMENTS, "recorders": recorders}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"deploy": deploy}))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trunk that declares a recorder, and a branch `work` of it whose results a trusted run has pushed."""
    folder = create(tmp_path_factory.mktemp("home"))
    trunk = Clone(folder / "author").linked()
    declare(trunk, **signers("recorder"))
    trunk.commit("A recorder")
    author = trunk.another("writer")
    author.git("checkout", "--quiet", "-b", "work")
    author.rate(rows=8)
    author.commit("Other rows")
    runner = author.another("runner", "work")
    code, _, told = runner.verb("run", "--base", "origin/main", "--computed", str(folder / "computed.json"))
    assert code == 0, told
    assert sorted(json.loads((folder / "computed.json").read_text())) == sorted(TOUCHED)
    runner.push("work")
    return folder


@pytest.fixture
def world(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home, tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def record(world: Path, sha: str, *options: str, who: str = "recorder", name: str = "trunk") -> tuple[int, str, str]:
    """What the job with the key does: with the trunk checked out, of what the run has left."""
    job = Clone(world / name).linked() if (world / name).exists() else Clone(world / "author").another(name)
    left = ("--computed", str(world / "computed.json"), "--sha", sha)
    return job.ci("record", *left, *options, TRUNKLINE_SIGNING_KEY=private(who))


def check(world: Path, name: str = "check", branch: str = "work") -> tuple[list[str], str]:
    """Return the stages that a check of the branch runs, and what it tells."""
    clone = Clone(world / "author").another(name, branch)
    code, _, told = clone.verb("run", "--base", "origin/main", "--all")
    assert code == 0, told
    log = clone.root / "ran.log"
    return log.read_text().split() if log.exists() else [], told


def test_what_is_recorded_does_not_run_again(world: Path) -> None:
    sha = Clone(world / "author").tip("work")
    ran, told = check(world, "before")
    assert (ran, AGAIN in told) == (TOUCHED, True)
    code, listed, told = record(world, sha, "--dry-run")
    assert (code, listed.count("would be recorded as records/"), told) == (0, len(TOUCHED), "")
    assert not (world / "remote/records").exists()
    code, listed, told = record(world, sha)
    assert (code, listed.count(": recorded as records/"), told) == (0, len(TOUCHED), "")
    assert record(world, sha) == (0, "".join(f"{stage}: was recorded before\n" for stage in sorted(TOUCHED)), "")
    assert check(world) == ([], "")
    # What a later commit changes runs, and nothing before it.
    later = Clone(world / "author").another("later", "work")
    later.rate(metrics=8)
    later.commit("Other metrics")
    assert check(world, "after") == (["metrics", "gate"], "")


def no_remote(clone: Clone) -> None:
    for name in ("config", "config.local"):
        (clone.root / ".dvc" / name).write_text("")


def unreadable(clone: Clone) -> None:
    shutil.rmtree(clone.remote)
    clone.remote.write_text("what a machine without keys sees")


def no_recorder(clone: Clone) -> None:
    declare(clone)
    clone.commit("Nobody records")


def no_key(clone: Clone) -> None:
    declare(clone, recorder={"key": "no key"})
    clone.commit("Another key")


@pytest.mark.parametrize("hinder", [no_remote, unreadable, no_recorder, no_key])
def test_a_check_that_can_verify_no_record_runs_all_again_and_says_so(
    world: Path, hinder: Callable[[Clone], None]
) -> None:
    """A fork's check, or a runner without keys: it believes no more than before there were records."""
    assert record(world, Clone(world / "author").tip("work"))[0] == 0
    clone = Clone(world / "author").another("check", "work")
    hinder(clone)
    code, _, told = clone.verb("run", "--base", "origin/main")
    assert (code, f"{AGAIN}{', '.join(TOUCHED)}\n" in told) == (0, True)
    assert set(TOUCHED) <= set((clone.root / "ran.log").read_text().split())
    assert clone.verb("check") == (0, "every result is committed\n", "")


Forge = Callable[[StageRecord], bytes]


def signed(who: str, change: Callable[[StageRecord], bytes] = records.encode) -> Forge:
    return lambda record: signing.sign(change(record), {signing.KEY: private(who)}).encode()


def of_another_kind(record: StageRecord) -> bytes:
    return records.encode(record).replace(records.PREDICATE.encode(), provenance.PREDICATE.encode())


def of_another_stage(record: StageRecord) -> bytes:
    return records.encode(StageRecord("raw", record.entry, record.run))


def of_other_inputs(record: StageRecord) -> bytes:
    return records.encode(StageRecord(record.stage, record.entry | {"deps": []}, record.run))


FORGERIES: dict[str, Forge] = {
    "signed by nobody who is declared": signed("mallory"),
    "signed by a key that the change itself declares": signed("newcomer"),
    "not signed": records.encode,
    "of another kind": signed("recorder", of_another_kind),
    "of another stage": signed("recorder", of_another_stage),
    "of other inputs": signed("recorder", of_other_inputs),
    "cut off": lambda record: signed("recorder")(record)[:-9],
    "with more after it": lambda record: signed("recorder")(record) + b" ",
    "changed after it was signed": lambda record: signed("recorder")(record).replace(b'"payload":"e', b'"payload":"f'),
    "too long": lambda record: b"x" * 2_000_000,
    "empty": lambda record: b"",
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_record_of_a_forged_result_is_not_believed(world: Path, what: str) -> None:
    attacker = Clone(world / "author").another("attacker", "work")
    declare(attacker, **signers("recorder"), **signers("newcomer"))
    lock = yaml.safe_load((attacker.root / "dvc.lock").read_text())
    true = lock["stages"]["score"]["outs"][0]["md5"]
    lock["stages"]["score"]["outs"][0]["md5"] = lock["stages"]["rows"]["outs"][0]["md5"]
    (attacker.root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    attacker.commit("Better scores")
    claim = StageRecord("score", lock["stages"]["score"], "https://example.org/runs/1")
    path = attacker.remote / claim.path
    path.parent.mkdir(parents=True)
    path.write_bytes(FORGERIES[what](claim))
    ran, told = check(world)
    assert "score" in ran
    assert (f"{claim.path}: is not believed: " in told) == (what != "too long")
    computed = yaml.safe_load((world / "check/dvc.lock").read_text())["stages"]["score"]["outs"][0]["md5"]
    assert computed == true


def test_a_record_with_other_results_is_told_and_not_replaced(world: Path) -> None:
    sha = Clone(world / "author").tip("work")
    assert record(world, sha)[0] == 0
    entries = json.loads((world / "computed.json").read_text())
    recorded = StageRecord("train", entries["train"], "").path
    before = (world / "remote" / recorded).read_bytes()
    entries["train"]["outs"][0]["md5"] = "0" * 32
    (world / "computed.json").write_text(json.dumps({"train": entries["train"]}))
    with pytest.raises(UserError, match=r"^train: has given other results for the same inputs before: "):
        record(world, sha)
    assert (world / "remote" / recorded).read_bytes() == before


def test_only_who_is_declared_on_the_trunk_records(world: Path) -> None:
    sha = Clone(world / "author").tip("work")
    with pytest.raises(signing.SignatureError, match="which conf/deploy does not declare"):
        record(world, sha, who="mallory")
    assert not (world / "remote/records").exists()
    trunk = Clone(world / "trunk")
    declare(trunk)
    assert record(world, sha) == (0, "nothing is recorded: conf/deploy declares no recorders\n", "")


@pytest.mark.parametrize("content", ["", "[]", '{"train": 1}', '{"train": {}, "train": {}}', "[" * 100_000])
def test_what_was_not_computed_is_not_recorded(world: Path, content: str) -> None:
    (world / "computed.json").write_text(content)
    with pytest.raises(UserError, match="is not what trunkline ci reproduce run --computed writes"):
        record(world, Clone(world / "author").tip("work"))


def test_a_commit_that_changes_code_is_not_recorded(world: Path) -> None:
    author = Clone(world / "author").another("coder")
    author.git("checkout", "--quiet", "-b", "code")
    (author.root / "step.py").write_text("print()\n")
    sha = author.commit("Another step")
    refusal = f"nothing is recorded: {sha[:10]} differs from the trunk in what computes or judges: step.py\n"
    assert record(world, sha) == (0, refusal, "")
    with pytest.raises(UserError, match=r"^commit 0000000000 is not here; run: git fetch origin 0000"):
        record(world, "0" * 40)


@pytest.mark.parametrize("name", ["dvc.lock", "params.yaml", "conf/model.yaml", "reports/metrics.json", "docs/page.md"])
def test_a_link_in_place_of_what_is_declared_is_code(world: Path, name: str) -> None:
    """DVC would write dvc.lock through it, as a file that the next process imports."""
    author = Clone(world / "author").another("linker")
    author.git("checkout", "--quiet", "-b", "links")
    path = author.root / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to("/tmp/sitecustomize.py")
    sha = author.commit("Only what is declared")
    refusal = f"nothing is recorded: {sha[:10]} differs from the trunk in what computes or judges: {name}\n"
    assert record(world, sha) == (0, refusal, "")
    assert kind.code(
        Since(author.root, Snapshot(author.root, "origin/main")), Snapshot(author.root, "origin/main")
    ).files == (name,)


def test_a_commit_on_code_that_a_merge_has_brought_and_nobody_judged_is_not_recorded(world: Path) -> None:
    """The trunk's merge shows nothing of it: a branch changes the code, changes it back, and is merged."""
    author = Clone(world / "author").another("coder")
    text = (author.root / "step.py").read_text()
    author.git("checkout", "--quiet", "-b", "code")
    (author.root / "step.py").write_text("print()\n")
    author.commit("Another step")
    author.git("checkout", "--quiet", "-b", "later")
    author.rate(rows=9)
    sha = author.commit("Only the parameter")
    author.git("checkout", "--quiet", "code")
    (author.root / "step.py").write_text(text)
    author.commit("As it was")
    author.git("checkout", "--quiet", "main")
    author.git("merge", "--quiet", "--no-ff", "-m", "Nothing changes", "code")
    author.git("push", "--quiet", "origin", "main")
    code, listed, _ = record(world, sha)
    assert (code, "differs from the trunk in what computes or judges: step.py" in listed) == (0, True)


entries = st.fixed_dictionaries(
    {
        "cmd": st.text(),
        "outs": st.lists(
            st.fixed_dictionaries({"path": st.sampled_from(sorted(OUTS.values())), "md5": st.text()}), max_size=2
        ),
    },
    optional={
        "deps": st.lists(st.dictionaries(st.text(), st.text(), max_size=2)),
        "params": st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        ),
    },
)


@given(st.text(), entries, st.text())
def test_a_record_is_written_in_one_way_and_read_in_no_other(stage: str, entry: dict[str, Any], run: str) -> None:
    written = StageRecord(stage, entry, run)
    assert records.decode(records.encode(written)) == written
    for other in (records.encode(written) + b"\n", records.encode(written).replace(b"{", b"{ ", 1), b"null", b"\xff"):
        with pytest.raises(UserError, match="is no statement as trunkline ci record writes it"):
            records.decode(other)
