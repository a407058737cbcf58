"""Why a stage runs, in words; what a plan adds up to."""

import pytest

from trunkline.adapters.dvc.survey import Absent, Stage
from trunkline.pipeline.plan import reasons
from trunkline.pipeline.plan.reasons import LockedStage

INPUTS = {"src/a.py": "1", "src/core": "2", "locks/pipeline.txt": "3", "stages/train.py": "4"}
PARAMS = {"model": {"max_iter": 200, "depth": None}, "seed": 1}
BEFORE = LockedStage("python stages/train.py", PARAMS, {**INPUTS, "data/features": "f"}, {"models/model.skops": "m"})
LOCKS = {"before": "numpy==2.4.0 \\\n    --hash=sha256:aa\nscikit-learn==1.9.1 \\\n", "now": "numpy==2.4.0\n"}


class History:
    """What git would say."""

    def __init__(self, now="numpy==2.4.0 \\\nscikit-learn==1.9.2 \\\nskops==0.16 \\\n", inside=()):
        self.now, self.inside = now, inside

    def text(self, path):
        return LOCKS["before"] if path == "locks/pipeline.txt" else None

    def current(self, path):
        return self.now if path == "locks/pipeline.txt" else None

    def changed(self, folder):
        return [name for name in self.inside if name.startswith(folder)]


def stage(action="runs", **changed):
    given = {
        "name": "train", "cmd": BEFORE.cmd, "inputs": INPUTS, "upstream": {"data/features": ("features",)},
        "params": PARAMS, "outputs": {}, "action": action,
    }  # fmt: skip
    return Stage(**given | changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"params": {"model": {"max_iter": 150, "depth": None}, "seed": 1}}, ["model.max_iter 200 → 150"]),
        ({"params": {"model": {"max_iter": 200, "depth": 4}}}, ["model.depth null → 4", "seed 1 → (none)"]),
        ({"inputs": INPUTS | {"src/a.py": "9"}}, ["src/a.py changed"]),
        ({"inputs": INPUTS | {"src/core": "9"}}, ["src/core/files.py changed", "src/core/new.py changed"]),
        ({"inputs": INPUTS | {"src/b.py": "9"}}, ["src/b.py is read now"]),
        ({"inputs": INPUTS | {"src/a.py": None}}, ["src/a.py is missing"]),
        ({"inputs": {k: v for k, v in INPUTS.items() if k != "src/a.py"}}, ["src/a.py is no longer read"]),
        (
            {"inputs": INPUTS | {"locks/pipeline.txt": "9"}},
            ["scikit-learn 1.9.1 → 1.9.2 in locks/pipeline.txt", "skops (none) → 0.16 in locks/pipeline.txt"],
        ),
        ({"cmd": "python x.py"}, ["its command changed: python stages/train.py → python x.py"]),
        ({"outputs": {"models/model.skops": "deleted"}}, ["models/model.skops is missing"]),
        ({"outputs": {"models/model.skops": "modified"}}, ["models/model.skops is not what dvc.lock says"]),
    ],
)
def test_a_reason_is_in_the_authors_words(changed, said):
    history = History(inside=["src/core/files.py", "src/core/new.py"])
    assert reasons.reasons(stage(**changed), BEFORE, BEFORE, history) == said


def test_a_lock_of_which_only_hashes_changed_is_a_changed_file():
    changed = stage(inputs=INPUTS | {"locks/pipeline.txt": "9"})
    assert reasons.reasons(changed, BEFORE, BEFORE, History(now=LOCKS["before"])) == ["locks/pipeline.txt changed"]


def test_a_stage_that_was_never_run_or_did_not_exist_says_so():
    assert reasons.reasons(stage(), None, None, History()) == ["has never run"]
    assert reasons.reasons(stage(), None, BEFORE, History()) == ["is new"]


def test_what_comes_from_a_stage_before_is_named_by_that_stage():
    assert reasons.reasons(stage("follows"), BEFORE, BEFORE, History(), ["features"]) == ["upstream: features"]
    assert reasons.reasons(stage("unchanged"), BEFORE, BEFORE, History(), ["features"]) == []
    moved = LockedStage(BEFORE.cmd, PARAMS, {**BEFORE.deps, "data/features": "g"}, {})
    assert reasons.reasons(stage("unchanged"), BEFORE, moved, History()) == ["upstream: features"]


def test_a_plan_adds_up_what_may_run_and_what_it_needs():
    absent = Absent("data/raw", 100, 2, cached=False)
    stages = [
        stage("runs", name="features", upstream={}, params={"model": 1}, needs=(absent,)),
        stage("follows", needs=(absent, Absent("data/valid", 5, 1, cached=True))),
        stage("unchanged", name="track", upstream={}),
    ]
    before = dict.fromkeys(("features", "train", "track"), BEFORE)
    made = reasons.plan(stages, before, before, {"features": 2.0, "train": 3.5, "track": 9.0}, History())
    assert made.seconds == 5.5
    assert [one.path for one in made.needs] == ["data/raw", "data/valid"]
    content = reasons.content(made)
    assert [one["action"] for one in content["stages"]] == ["runs", "follows", "unchanged"]
    assert content["stages"][1]["reasons"] == ["upstream: features"]
    unknown = reasons.plan(stages, before, before, {"features": 2.0}, History())
    assert unknown.seconds is None


def test_a_lock_is_read_as_dvc_writes_it():
    found = reasons.entries(
        {
            "schema": "2.0",
            "stages": {
                "a": {
                    "cmd": "x",
                    "deps": [{"path": "conf", "hash": "md5", "md5": "1.dir", "size": 3, "nfiles": 1}],
                    "params": {"params.yaml": {"seed": 1, "model": {"a": 1}}},
                    "outs": [{"path": "out", "hash": "md5", "md5": "2", "size": 3}],
                },
                "b": {"cmd": "y"},
            },
        }
    )
    assert found["a"] == LockedStage("x", {"seed": 1, "model": {"a": 1}}, {"conf": "1.dir"}, {"out": "2"})
    assert found["b"] == LockedStage("y", {}, {}, {})
    assert reasons.entries(None) == {}
