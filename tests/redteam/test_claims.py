"""A pull request that claims results which its own inputs do not give, with every hash in order."""

import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from hypothesis import given
from hypothesis import strategies as st

from tests.pipelines import OUTS, READS, Clone, create
from trunkline.core.errors import OutsideError, TrunklineError
from trunkline.pipeline import claims

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

LISTED = "not what its inputs give: "


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create(tmp_path_factory.mktemp("home"))


@pytest.fixture
def attacker(home: Path, tmp_path: Path) -> Clone:
    """A clone on a branch of its own, of somebody who may also write to the remote and its run cache."""
    shutil.copytree(home, tmp_path / "home", symlinks=True)
    clone = Clone(tmp_path / "home/author").linked()
    clone.git("checkout", "--quiet", "-b", "forged")
    return clone


def forge(clone: Clone, name: str) -> None:
    """Edit a stage's output, and have DVC write its hashes, run what follows, and push all of it."""
    output = clone.root / OUTS[name]
    for part in sorted(output.rglob("*")) if output.is_dir() else [output]:
        part.chmod(0o644)
        content = str(int(part.read_text()) + 1)
        part.unlink()
        part.write_text(content)
    with chdir(clone.root), Repo() as repo:
        repo.commit(name, force=True)
    clone.reproduce()
    clone.commit("Better results")
    clone.push("forged")


def results(clone: Clone) -> dict[str, bytes]:
    return {path: (clone.root / path).read_bytes() for path in ("dvc.lock", *OUTS.values()) if "." in Path(path).name}


@pytest.mark.parametrize("name", READS)
def test_a_forged_result_of_any_stage_is_computed_again_and_named(attacker: Clone, name: str) -> None:
    honest = attacker.another("honest")
    honest.reproduce(everything=True)
    forge(attacker, name)
    check = attacker.another("check", "forged")
    assert check.reproduce() == ([], []), "the attack: DVC has nothing to do"
    code, _, told = check.verb("run", "--base", "origin/main", "--all")
    assert (code, "computed again, since nobody trusted has: " in told, name in told) == (0, True, True)
    assert results(check) == results(honest)
    code, listed, _ = check.verb("check")
    assert code == 1
    assert [line for line in listed.splitlines() if line.startswith(f"{LISTED}{name}: {OUTS[name]} is ")]
    assert listed.count(LISTED) == 1, "what follows from it is no claim of its own"


def test_an_honest_result_is_computed_again_and_has_the_same_bytes(attacker: Clone) -> None:
    attacker.rate(rows=8)
    attacker.reproduce()
    attacker.commit("Other rows")
    attacker.push("forged")
    check = attacker.another("check", "forged")
    code, _, told = check.verb("run", "--base", "origin/main")
    assert (code, "since nobody trusted has: rows, train, score, metrics, gate" in told) == (0, True)
    assert check.verb("check") == (0, "every result is committed\n", "")
    assert check.git("status", "--porcelain") == ""


def test_a_forged_result_of_the_run_cache_is_not_taken(attacker: Clone) -> None:
    """The lock says nothing of it: the inputs have changed, and the remote claims to know what they give."""
    attacker.rate(score=8)
    attacker.reproduce()
    honest = results(attacker)
    for entry in (attacker.root / ".dvc/cache/runs").rglob("*"):
        if entry.is_file() and "step.py score" in entry.read_text():
            text = entry.read_text()
            (out,) = yaml.safe_load(text)["outs"]
            other = yaml.safe_load(attacker.git("show", "main:dvc.lock"))["stages"]["rows"]["outs"][0]["md5"]
            entry.unlink()
            entry.write_text(text.replace(out["md5"], other))
    attacker.push("elsewhere")
    attacker.git("checkout", "--quiet", "--", "dvc.lock", "reports")
    attacker.commit("Only the parameter")
    check = attacker.another("check", "forged")
    assert check.verb("run", "--base", "origin/main", "--all")[0] == 0
    assert results(check) == honest


def poison(cache: Path, clone: Clone, name: str) -> str:
    """Put other bytes under the hash of a stage's output, read-only, which DVC takes for a sign that it wrote them."""
    (md5,) = clone.of(name)
    path = cache / "files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text("999999\n")
    path.chmod(0o444)
    return md5


def test_a_trusted_hash_with_other_bytes_in_the_cache_is_not_taken(attacker: Clone) -> None:
    """What an earlier run of the same pull request has left for this one."""
    attacker.rate(score=8)
    attacker.commit("Only the parameter")
    attacker.reproduce()
    honest = results(attacker)
    check = attacker.another("check", "forged")
    md5 = poison(check.root / ".dvc/cache", check, "train")
    code, _, told = check.verb("run", "--base", "origin/main", "--all")
    assert (code, f"other bytes than their names say: {md5}" in told) == (0, True)
    assert results(check) == honest


def test_a_trusted_hash_with_other_bytes_on_the_remote_is_an_error(attacker: Clone) -> None:
    md5 = poison(attacker.remote, attacker, "train")
    attacker.rate(score=8)
    attacker.commit("Only the parameter")
    check = attacker.another("check", "forged")
    with pytest.raises(OutsideError, match=f"the remote has sent other bytes than it was asked for, .*{md5}"):
        check.verb("run", "--base", "origin/main", "--all")
    assert md5 not in check.objects()


def of_before(stages: dict[str, Any]) -> str:
    return yaml.safe_dump(stages)


def without_a_command(stages: dict[str, Any]) -> str:
    score = {key: value for key, value in stages["score"].items() if key != "cmd"}
    return yaml.safe_dump({"schema": "2.0", "stages": stages | {"score": score}})


def merged(stages: dict[str, Any]) -> str:
    others = {name: value for name, value in stages.items() if name != "score"}
    return yaml.safe_dump({"schema": "2.0", "stages": {"MERGE": {"score": stages["score"]}} | others}).replace(
        "MERGE", "<<"
    )


def listed_twice(stages: dict[str, Any]) -> str:
    (forged,) = stages["score"]["outs"]
    score = stages["score"] | {"outs": [forged | {"md5": forged["md5"][::-1]}, forged]}
    return yaml.safe_dump({"schema": "2.0", "stages": stages | {"score": score}})


def by_its_files(stages: dict[str, Any]) -> str:
    """DVC takes the hash of a folder from its files, if they are there, and not from `md5`."""
    (forged,) = stages["score"]["outs"]
    part = {"relpath": "../../step.py", "md5": forged["md5"].removesuffix(".dir"), "size": 1}
    score = stages["score"] | {"outs": [{"path": forged["path"], "hash": "md5", "files": [part]}]}
    return yaml.safe_dump({"schema": "2.0", "stages": stages | {"score": score}})


@pytest.mark.parametrize("form", [of_before, without_a_command, merged, listed_twice, by_its_files])
def test_a_claim_is_found_in_whatever_form_dvc_may_read_it(attacker: Clone, form: Callable[..., str]) -> None:
    """A lock in which DVC sees an entry and a check of ours sees none: refused by DVC, or seen by both."""
    honest = results(attacker)
    code = (attacker.root / "step.py").read_bytes()
    forge(attacker, "score")
    lock = yaml.safe_load((attacker.root / "dvc.lock").read_text())
    (attacker.root / "dvc.lock").write_text(form(lock["stages"]))
    attacker.commit("Better results")
    check = attacker.another("check", "forged")
    try:
        ended = check.verb("run", "--base", "origin/main", "--all")[0]
    except TrunklineError:
        ended = 2
    assert (check.root / "step.py").read_bytes() == code
    assert ended or {**results(check), "dvc.lock": b""} == {**honest, "dvc.lock": b""}


def entry(draw: Callable[..., object]) -> dict[str, object]:
    word = st.sampled_from(["a", "b"])
    return {
        "cmd": draw(word),
        "deps": [{"path": "in", "md5": draw(word)}],
        "outs": [{"path": "out", "md5": draw(word)}],
    }


@st.composite
def locks(draw: Callable[..., object]) -> dict[str, object]:
    return {"schema": "2.0", "stages": {name: entry(draw) for name in "xyz" if draw(st.booleans())}}


@given(locks(), locks())
def test_whatever_differs_from_the_trusted_lock_is_unproven_and_a_refutation_needs_the_same_inputs(
    now, trusted
) -> None:
    entries, known = now["stages"], trusted["stages"]
    assert set(claims.unproven(now, claims.entries(trusted))) == {
        name for name in entries if entries[name] != known.get(name)
    }
    for claim in claims.refuted(now, trusted):
        assert entries[claim.stage]["deps"] == known[claim.stage]["deps"]
        assert claim.claimed != claim.computed


@pytest.mark.parametrize("lock", [{}, {"stages": None}, {"stages": []}, {"stages": {"x": None}}, {"stages": {"x": 1}}])
def test_a_lock_that_is_none_claims_nothing_and_vouches_for_nothing(lock) -> None:
    honest = {"stages": {"x": {"cmd": "x", "outs": [{"path": "out", "md5": "1"}]}}}
    assert claims.unproven(lock, claims.entries(honest)) == ()
    assert claims.unproven(honest, claims.entries(lock)) == ("x",)
    assert claims.refuted(lock, honest) == claims.refuted(honest, lock) == ()
