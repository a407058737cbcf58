"""Merges of dvc.lock, params.yaml and reports: what is taken from which side, and what is a conflict."""

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trunkline import cli
from trunkline.adapters.git import repository
from trunkline.core.errors import UserError
from trunkline.pipeline.compose.compose import render
from trunkline.pipeline.merge import SETTINGS, Sides, merge

# What each stage reads of the stages before it: a file that one of them writes, one below a folder, a folder above.
UPSTREAM = {"a": [], "b": ["out/a"], "c": ["out/a/part"], "d": ["out"]}


@dataclass(frozen=True)
class Stage:
    """What varies in an entry of dvc.lock: what a person changes, then what follows from other stages."""

    cmd: int = 0
    code: int = 0
    rate: int = 0
    upstream: int = 0
    made: int = 0

    def written(self, name):
        deps = [dep(path, self.upstream) for path in UPSTREAM[name]] + [dep(f"src/{name}.py", self.code)]
        params = {"params.yaml": {f"model_{name}": {"rate": self.rate, "depth": None}}}
        return {"cmd": f"run {self.cmd}", "deps": deps, "params": params, "outs": [dep(f"out/{name}", self.made)]}


def dep(path, content):
    return {"path": path, "hash": "md5", "md5": f"{content:032x}", "size": 9}


def lock(stages, schema="2.0"):
    content = {"schema": schema, "stages": {name: stage.written(name) for name, stage in stages.items()}}
    return yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False)


def direct(stages, name):
    """What a person changes in a stage; without the stage that makes it, a file is a person's too."""
    if name not in stages:
        return None
    told = stages[name]
    made = {"a": False, "b": "a" in stages, "c": "a" in stages, "d": len(stages) > 1}[name]
    return told.cmd, told.code, told.rate, None if made or not UPSTREAM[name] else told.upstream


def load(text):
    return yaml.load(text, Loader=yaml.CSafeLoader)


def driven(base, ours, theirs):
    return merge("dvc.lock", Sides(lock(base), lock(ours), lock(theirs)), render)


def names(conflicts):
    return [conflict.name for conflict in conflicts]


stage = st.builds(Stage, *[st.integers(0, 2)] * 5)
lockfile = st.permutations(list(UPSTREAM)).flatmap(
    lambda order: st.fixed_dictionaries({}, optional=dict.fromkeys(order, stage))
)


def expected(locks, name):
    """The rule, told of tuples: what is kept, and whether it is a conflict or must be made again."""
    base, ours, theirs = (stages.get(name) for stages in locks)
    if theirs in (base, ours):
        return ours, ""
    if ours == base:
        return theirs, ""
    before, mine, other = (direct(stages, name) for stages in locks)
    if before != mine != other != before:
        return ours, "conflict"
    kept = theirs if mine == before and other != before else ours
    return kept, "stale" if kept else ""


@given(lockfile, lockfile, lockfile)
def test_a_stage_is_kept_whole_and_is_a_conflict_only_if_two_people_changed_it(base, ours, theirs):
    merged = driven(base, ours, theirs)
    found = load(merged.text)
    wanted = {name: expected((base, ours, theirs), name) for name in UPSTREAM}
    assert (found.get("stages") or {}) == {name: kept.written(name) for name, (kept, _) in wanted.items() if kept}
    assert sorted(names(merged.conflicts)) == [name for name, (_, how) in wanted.items() if how == "conflict"]
    assert sorted(merged.stale) == [name for name, (_, how) in wanted.items() if how == "stale"]
    assert found["schema"] == "2.0"


@given(lockfile, lockfile, lockfile)
def test_no_entry_is_a_mixture(base, ours, theirs):
    for name, entry in (load(driven(base, ours, theirs).text).get("stages") or {}).items():
        assert entry in [side[name].written(name) for side in (base, ours, theirs) if name in side]


@given(lockfile, lockfile, lockfile)
def test_ours_and_theirs_differ_in_the_preference_only(base, ours, theirs):
    one, other = driven(base, ours, theirs), driven(base, theirs, ours)
    assert {(c.name, c.ours, c.theirs) for c in one.conflicts} == {(c.name, c.theirs, c.ours) for c in other.conflicts}
    assert set(one.stale) == set(other.stale)
    settled = set(UPSTREAM) - set(names(one.conflicts)) - set(one.stale)
    here, there = (load(merged.text).get("stages") or {} for merged in (one, other))
    assert {name: here.get(name) for name in settled} == {name: there.get(name) for name in settled}


@given(lockfile, lockfile)
def test_a_side_that_changed_nothing_gives_the_bytes_of_the_other(base, side):
    for ours, theirs in ((base, side), (side, base), (side, side)):
        merged = driven(base, ours, theirs)
        # The same entries in another order are no change.
        assert merged.text == (lock(ours) if base == side else lock(side))
        assert (merged.conflicts, merged.stale) == ((), ())


@given(st.sets(st.sampled_from("abcd")), st.data())
def test_branches_that_change_different_stages_never_conflict(mine, data):
    """Each changes some stages, and any stage may be another in consequence."""
    base = {name: Stage() for name in UPSTREAM}
    consequence = st.builds(Stage, upstream=st.integers(0, 2), made=st.integers(0, 2))
    ours = {name: data.draw(stage if name in mine else consequence) for name in UPSTREAM}
    theirs = {name: data.draw(consequence if name in mine else stage) for name in UPSTREAM}
    merged = driven(base, ours, theirs)
    assert merged.conflicts == ()
    found = load(merged.text)["stages"]
    for name in UPSTREAM:
        changed = (ours if name in mine else theirs)[name]
        if (changed.cmd, changed.code, changed.rate) != (0, 0, 0):
            assert found[name] == changed.written(name)


@given(stage, stage, stage)
def test_a_stage_that_both_changed_is_always_a_conflict_and_kept_as_ours(base, ours, theirs):
    locks = [{"a": Stage(), "b": side} for side in (base, ours, theirs)]
    merged = driven(*locks)
    both = len({direct(side, "b") for side in locks}) == 3
    assert names(merged.conflicts) == (["b"] if both else [])
    if both:
        assert merged.text == lock(locks[1])


def test_a_file_that_no_other_stage_makes_is_a_persons():
    """The folder holds the stage's own output too, which makes nothing of it follow from another stage."""
    merged = driven({"d": Stage()}, {"d": Stage(upstream=1)}, {"d": Stage(upstream=2)})
    assert [(c.ours, c.theirs) for c in merged.conflicts] == [(("out changed",), ("out changed",))]


def test_equal_texts_are_equal_whatever_they_say():
    base = lock({"a": Stage(), "b": Stage()}).replace("rate: 0", "rate: .nan", 1)
    ours, theirs = base.replace("run 0", "run 1"), base.replace("rate: 0", "rate: 1")
    merged = merge("dvc.lock", Sides(base, base, theirs), render)
    assert (merged.text, merged.conflicts, merged.stale) == (theirs, (), ())
    both = merge("dvc.lock", Sides(base, ours, ours), render)
    assert (both.text, both.conflicts, both.stale) == (ours, (), ())


def test_a_last_line_without_an_end_is_ended():
    base = lock({"a": Stage()})
    merged = merge("dvc.lock", Sides(base, lock({"a": Stage(made=1)})[:-1], lock({"a": Stage(), "b": Stage()})), render)
    assert merged.text == lock({"a": Stage(made=1), "b": Stage()})


def test_params_of_one_side_keep_their_bytes():
    for ours, theirs in (("x: 1\n", "# by hand\nx: 2\n"), ("# by hand\nx: 2\n", "x: 1\n")):
        assert merge("params.yaml", Sides("x: 1\n", ours, theirs), render).text == "# by hand\nx: 2\n"


def test_a_new_stage_comes_last_as_dvc_writes_it():
    merged = driven({"a": Stage()}, {"a": Stage(), "b": Stage()}, {"c": Stage(), "a": Stage()})
    assert list(load(merged.text)["stages"]) == ["a", "b", "c"]


def test_a_stage_that_one_removed_and_the_other_changed():
    base, consequence, changed = {"a": Stage(), "b": Stage()}, Stage(upstream=1, made=1), Stage(rate=1)
    gone = {"a": Stage()}
    assert driven(base, gone, base | {"b": consequence}).text == lock(gone)
    merged = driven(base, base | {"b": changed}, gone)
    assert merged.text == lock(base | {"b": changed})
    assert [(c.ours, c.theirs) for c in merged.conflicts] == [
        (("params model_b.rate 0 → 1",), ("the whole stage removed",))
    ]


def test_another_section_of_dvc_lock_is_one_entry_in_its_place():
    base = "schema: '2.0'\nstages:\n  a:\n    cmd: one\ndatasets:\n- name: x\n  v: 1\n"
    ours, theirs = base.replace("v: 1", "v: 2"), base.replace("cmd: one", "cmd: two")
    assert merge("dvc.lock", Sides(base, ours, theirs), render).text == ours.replace("one", "two")
    both = merge("dvc.lock", Sides(base, ours, base.replace("v: 1", "v: 3")), render)
    assert (both.text, names(both.conflicts)) == (ours, ["datasets"])


def test_inputs_are_compared_with_their_types():
    base = {"a": Stage(rate=1)}
    ours, theirs = lock(base).replace("rate: 1", "rate: 1.0"), lock(base).replace("rate: 1", "rate: true")
    merged = merge("dvc.lock", Sides(lock(base), ours, theirs), render)
    assert [(c.ours, c.theirs) for c in merged.conflicts] == [
        (("params model_a.rate 1 → 1.0",), ("params model_a.rate 1 → true",))
    ]


def test_the_real_lock_keeps_its_bytes(root):
    base = (root / "dvc.lock").read_text(encoding="utf-8")
    tracked = base.replace("experiment: flight-delay", "experiment: other")
    trained = base.replace("max_iter: 200", "max_iter: 100")
    assert len({base, tracked, trained}) == 3
    for ours, theirs, wanted in [
        (base, trained, trained),
        (trained, base, trained),
        (trained, tracked, trained.replace("experiment: flight-delay", "experiment: other")),
        (tracked, trained, trained.replace("experiment: flight-delay", "experiment: other")),
    ]:
        merged = merge("dvc.lock", Sides(base, ours, theirs), render)
        assert (merged.text, merged.conflicts, merged.stale) == (wanted, (), ())


def test_dvc_would_write_the_same_bytes():
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    long = "c" * 200 + " --option"
    base = {"a": Stage(), "b": Stage(), "c": Stage()}
    sides = [
        dumps_yaml(parse_yaml_for_update(lock(stages).replace("run 0", long), "dvc.lock"))
        for stages in (base, base | {"a": Stage(rate=1)}, {"b": Stage(code=1), "c": Stage(), "d": Stage()})
    ]
    merged = merge("dvc.lock", Sides(*sides), render)
    assert names(merged.conflicts) == ["a"]
    assert merged.text == dumps_yaml(parse_yaml_for_update(merged.text, "dvc.lock"))
    assert list(load(merged.text)["stages"]) == ["a", "b", "c", "d"]


leaf = st.one_of(st.none(), st.booleans(), st.integers(0, 1), st.just(1.0), st.lists(st.integers(0, 1), max_size=2))
tree = st.dictionaries(st.sampled_from("xyz"), st.recursive(leaf, lambda t: st.dictionaries(st.sampled_from("xyz"), t)))


def params(base, ours, theirs):
    return merge("params.yaml", Sides(render(base), render(ours), render(theirs)), render)


def leaves(content, key=()):
    if not isinstance(content, dict) or (not content and key):
        return {key: json.dumps(content)}
    return {path: text for name, item in content.items() for path, text in leaves(item, (*key, name)).items()}


@given(tree, tree, tree)
def test_params_are_canonical_and_every_value_is_one_of_a_side(base, ours, theirs):
    merged = params(base, ours, theirs)
    found = load(merged.text)
    assert merged.text == render(found)
    given = [leaves(side) for side in (base, ours, theirs)]
    for key, text in leaves(found).items():
        assert text in [side.get(key) for side in given] or text == "{}"


@given(tree, tree, tree)
def test_params_of_ours_and_theirs_differ_in_conflicts_only(base, ours, theirs):
    one, other = params(base, ours, theirs), params(base, theirs, ours)
    assert {(c.name, c.ours, c.theirs) for c in one.conflicts} == {(c.name, c.theirs, c.ours) for c in other.conflicts}
    if not one.conflicts:
        assert one.text == other.text


@given(tree, tree)
def test_params_that_one_side_left_alone_are_the_bytes_of_the_other(base, side):
    for ours, theirs in ((base, side), (side, base), (side, side)):
        assert params(base, ours, theirs).text == render(side)
        assert params(base, ours, theirs).conflicts == ()


flat = st.dictionaries(st.sampled_from("xyz"), leaf).map(lambda values: {"model": {"keep": 0, **values}})


@given(flat, flat, flat)
def test_params_are_merged_by_key(base, ours, theirs):
    merged = params(base, ours, theirs)
    found, conflicts = load(merged.text)["model"], []
    for name in "xyz":
        before, mine, other, kept = (
            json.dumps(side["model"][name]) if name in side["model"] else None
            for side in (base, ours, theirs, {"model": found})
        )
        assert kept == (other if mine == before else mine)
        if before != mine != other != before:
            conflicts.append(f"model.{name}")
    assert sorted(names(merged.conflicts)) == conflicts


def test_a_key_that_one_removed_with_its_group_and_the_other_changed_is_a_conflict():
    base = {"model": {"rate": 0.05, "depth": 3}, "seed": 1}
    merged = params(base, {"seed": 1}, {"model": {"rate": 0.1, "depth": 3}, "seed": 2})
    assert [(c.name, c.ours, c.theirs) for c in merged.conflicts] == [
        ("model.rate", ("0.05 → (none)",), ("0.05 → 0.1",))
    ]
    assert load(merged.text) == {"seed": 2}


def test_a_value_against_keys_is_one_conflict_at_the_value():
    merged = params({"m": {"x": 1}}, {"m": 5}, {"m": {"x": 1, "y": 3}})
    assert [(c.name, c.ours, c.theirs) for c in merged.conflicts] == [
        ("m", ('{"x": 1} → 5',), ('{"x": 1} → {"x": 1, "y": 3}',))
    ]


def test_a_report_is_taken_whole():
    def report(base, ours, theirs):
        merged = merge("reports/metrics.json", Sides(base, ours, theirs), render)
        assert merged.conflicts == ()
        return merged.text, merged.stale

    assert report("{}", "{}", "[1]") == ("[1]", ())
    assert report("{}", "[1]", "{}") == ("[1]", ())
    assert report("{}", "[1]", "[1]") == ("[1]", ())
    assert report('{"a": 1, "b": 1}', '{"a": 2, "b": 1}', '{"a": 1, "b": 2}') == (
        '{"a": 2, "b": 1}',
        ("the report",),
    )
    assert report("", "[1]", "[2]") == ("[1]", ("the report",))


def test_both_branches_added_the_file():
    merged = merge("dvc.lock", Sides("", lock({"a": Stage()}), lock({"a": Stage(), "b": Stage()})), render)
    assert (merged.text, merged.conflicts) == (lock({"a": Stage(), "b": Stage()}), ())
    merged = merge("params.yaml", Sides("", render({"x": 1}), render({"y": 1})), render)
    assert (merged.text, merged.conflicts) == (render({"x": 1, "y": 1}), ())


GOOD = {"dvc.lock": lock({"a": Stage()}), "params.yaml": "x: 1\n", "reports/m.json": "{}"}


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        ("dvc.lock", "a: ["),
        ("dvc.lock", "<<<<<<< HEAD\nschema: '2.0'\n"),
        ("dvc.lock", "schema: '2.0'\nstages:\n  a:\n<<<<<<< HEAD\n    cmd: x\n"),
        ("dvc.lock", "schema: '2.0'\nstages:\n  a: {cmd: x}\n  a: {cmd: y}\n"),
        ("dvc.lock", "schema: '2.0'\nstages: {a: {cmd: x}}\n"),
        ("dvc.lock", "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    deps: [src]\n"),
        ("dvc.lock", "schema: '2.0'\nstages:\n  a:\n    deps: 1\n"),
        ("params.yaml", "x: [\n"),
        ("params.yaml", "- x\n"),
        ("reports/m.json", "{"),
        ("reports/m.json", ""),
        ("README.md", "x"),
    ],
)
def test_a_side_that_cannot_be_read_is_named(path, bad):
    for ours, theirs in ((bad, GOOD.get(path, "")), (GOOD.get(path, ""), bad)):
        with pytest.raises(UserError, match=rf"^{path}: .+; (run there: dvc repro|fix \.gitattributes)$") as raised:
            merge(path, Sides("", ours, theirs), render)
        assert "\n" not in str(raised.value)


@pytest.fixture
def trunkline(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder, and return its code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["trunkline", "ci", "merge-driver", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return run


def versions(tmp_path, *texts):
    for name, text in zip("oab", texts, strict=True):
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return "o", "a", "b"


def test_the_driver_writes_ours_and_tells_each_conflict_in_one_line(tmp_path, trunkline):
    base = {name: Stage() for name in "abc"}
    ours = {"a": Stage(rate=1), "b": Stage(made=1), "c": Stage(cmd=1)}
    theirs = {"a": Stage(rate=2, code=1), "b": Stage(made=2), "c": Stage()}
    files = versions(tmp_path, lock(base), lock(ours), lock(theirs))
    told = (
        "dvc.lock: a: ours params model_a.rate 0 → 1; theirs src/a.py changed, params model_a.rate 0 → 2; "
        "resolve conf/, then run dvc repro and git add dvc.lock\n"
        "dvc.lock: b must be made again; run: dvc repro\n"
    )
    assert trunkline(*files, "dvc.lock", "--dry-run") == (1, lock(ours), told)
    (tmp_path / "a").write_text(lock(ours))
    assert trunkline(*files, "dvc.lock") == (1, "", told)
    assert (tmp_path / "a").read_text() == lock(ours)


def test_many_changes_are_counted(tmp_path, trunkline):
    def written(rate):
        return render({"a": {"params": {"params.yaml": {f"k{i}": rate for i in range(9)}}}}).partition("\n")[2]

    texts = ["stages:\n" + "".join(f"  {line}\n" for line in written(i).splitlines()) for i in range(3)]
    _, _, told = trunkline(*versions(tmp_path, *texts), "dvc.lock")
    assert "ours params k0 0 → 1, params k1 0 → 1, params k2 0 → 1 and 6 more; theirs" in told


def test_the_driver_merges_params_and_reports(tmp_path, trunkline):
    files = versions(tmp_path, *(render(content) for content in ({"x": 1, "y": 1}, {"x": 2, "y": 1}, {"x": 1, "y": 2})))
    assert trunkline(*files, "params.yaml") == (0, "", "")
    assert (tmp_path / "a").read_text() == render({"x": 2, "y": 2})
    code, _, told = trunkline(*versions(tmp_path, "1", "2", "3"), "reports/m.json")
    assert (code, told) == (0, "reports/m.json: the report must be made again; run: dvc repro\n")


@pytest.mark.parametrize("bad", ["a: [", b"\xff"])
def test_what_cannot_be_read_exits_2_and_leaves_ours_alone(tmp_path, trunkline, bad):
    code, printed, told = trunkline(*versions(tmp_path, "", GOOD["dvc.lock"], bad), "dvc.lock")
    assert (code, printed) == (2, "")
    assert told.startswith("error: dvc.lock: ")
    assert (tmp_path / "a").read_text() == GOOD["dvc.lock"]


@pytest.mark.parametrize("arguments", [(), ("o", "a", "b"), ("--install", "o"), ("--dry-run",)])
def test_the_arguments_are_four_or_install(trunkline, arguments):
    code, _, told = trunkline(*arguments)
    assert code == 2
    assert "needs BASE OURS THEIRS PATH, or --install alone" in told


def test_install_sets_the_driver_once(tmp_path, trunkline):
    code, _, told = trunkline("--install")
    assert (code, told.count("\n")) == (2, 1)
    assert "git repository" in told
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for arguments, said in [(["--dry-run"], "would run"), ([], "ran"), ([], "is set already")]:
        code, printed, told = trunkline("--install", *arguments)
        assert (code, told) == (0, "")
        assert printed == "".join(f"{said}: git config {key} '{value}'\n" for key, value in SETTINGS.items())
        wanted = dict.fromkeys(SETTINGS) if arguments else SETTINGS
        assert {key: repository.setting(tmp_path, key) for key in SETTINGS} == wanted
    assert SETTINGS["merge.trunkline.driver"] == "trunkline ci merge-driver %O %A %B %P"


def test_git_hands_these_files_to_the_driver(root):
    paths = ["dvc.lock", "params.yaml", "reports/metrics.json", "reports/curves/roc.json", "conf/x.json", "README.md"]
    done = subprocess.run(
        ["git", "check-attr", "--stdin", "merge"],
        cwd=root,
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == ["trunkline"] * 4 + ["unspecified"] * 2


def test_the_stage_that_makes_params_is_no_conflict_since_its_keys_are_told_one_by_one():
    def lock(conf):
        return (
            "schema: '2.0'\nstages:\n  compose:\n    cmd: python stages/compose.py\n    deps:\n"
            f"    - path: conf\n      hash: md5\n      md5: {conf}.dir\n"
            "    outs:\n    - path: params.yaml\n      hash: md5\n      md5: 1\n"
        )

    merged = merge("dvc.lock", Sides(lock("0"), lock("1"), lock("2")), str)
    assert (merged.text, merged.conflicts, merged.stale) == (lock("1"), (), ("compose",))


def test_a_stage_that_reads_what_a_stage_before_it_reads_follows_from_that():
    """The model card reads the parameters of the model and of the evaluation, and is not what either branch changed."""

    def lock(rate, bins):
        entry = {
            "train": {"model.rate": rate},
            "evaluate": {"bins": bins},
            "card": {"model": {"rate": rate}, "bins": bins},
        }
        reads = {"train": [], "evaluate": ["model"], "card": ["model", "metrics"]}
        makes = {"train": "model", "evaluate": "metrics", "card": "card"}
        stages = {
            name: {
                "cmd": name,
                "deps": [dep(path, 10 * rate + bins) for path in reads[name]],
                "params": {"params.yaml": params},
                "outs": [dep(makes[name], 10 * rate + bins)],
            }
            for name, params in entry.items()
        }
        return yaml.dump({"schema": "2.0", "stages": stages}, Dumper=yaml.CSafeDumper, sort_keys=False)

    merged = merge("dvc.lock", Sides(lock(0, 0), lock(1, 0), lock(0, 1)), render)
    assert merged.conflicts == ()
    assert merged.stale == ("train", "evaluate", "card")  # of this lock, every entry of both sides is another one
    both = merge("dvc.lock", Sides(lock(0, 0), lock(1, 0), lock(2, 1)), render)
    assert names(both.conflicts) == ["train"]
