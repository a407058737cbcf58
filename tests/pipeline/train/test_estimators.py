"""Only estimators can be named, every parameter is checked, and nothing of the machine enters the model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from trunkline.conf.model import Model
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.tasks import Task
from trunkline.pipeline.train import estimators

SHIPPED = sorted((Path(__file__).parents[3] / "conf" / "model").glob("*.yaml"))
TASKS: dict[str, Task] = {
    **dict.fromkeys(("ridge", "gbm_regression"), "regression"),
    **dict.fromkeys(("forecast", "quantiles"), "quantile"),
    "ranker": "ranking",
    "labels": "multilabel",
}
FOREST = "sklearn.ensemble.RandomForestClassifier"
LIGHTGBM = "lightgbm.LGBMClassifier"
CALIBRATED = "sklearn.calibration.CalibratedClassifierCV"
NATIVE = {"categorical": {"encode": "native"}}
IMPUTED = {"numeric": {"impute": "mean"}}


def declared(target: str = FOREST, preprocess: Any = IMPUTED, **parameters: Any) -> Model:
    return Model.parse({"_target_": target, "preprocess": preprocess, **parameters})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_model_is_accepted(path: Path) -> None:
    model = Model.parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    estimators.verify(model, TASKS.get(path.stem, "binary"))
    estimator = estimators.build(model, seed=11)
    assert estimator.get_params().get("random_state", 11) == 11
    for name, value in model.parameters.items():
        assert isinstance(value, dict) or estimator.get_params()[name] == value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("os.system", "not in an allowed package"),
        ("builtins.eval", "not in an allowed package"),
        ("sklearnx.ensemble.RandomForestClassifier", "not in an allowed package; did you mean 'sklearn'"),
        ("sklearn", "not the public import path"),
        ("sklearn..ensemble", "not the public import path"),
        ("sklearn.base.BaseEstimator.__init__", "not the public import path"),
        ("sklearn.linear_model._logistic.LogisticRegression", "not the public import path"),
        ("sklearn.os.system", "no module 'sklearn.os'"),
        ("sklearn.utils.os.system", "no module 'sklearn.utils.os'"),
        ("sklearn.ensembles.RandomForestClassifier", "no module 'sklearn.ensembles'; did you mean 'ensemble'"),
        ("sklearn.ensemble.RandomForestClasifier", "did you mean 'RandomForestClassifier'"),
        ("sklearn.base.BaseEstimator", "not a classifier or regressor"),
        ("sklearn.preprocessing.StandardScaler", "not a classifier or regressor"),
        ("sklearn.utils.discovery.all_estimators", "not a classifier or regressor"),
        ("lightgbm.sklearn.np", "not a classifier or regressor"),
    ],
)
def test_what_is_no_estimator_is_refused(path: str, message: str) -> None:
    with pytest.raises(UserError, match=r"^model\._target_: ") as caught:
        estimators.verify(declared(path), "binary")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.lists(st.sampled_from(["sklearn", "os", "system", "utils", "base", "", "__class__", "eval"]), max_size=5))
def test_no_path_resolves_to_anything_but_an_estimator(parts: list[str]) -> None:
    try:
        resolved = estimators.resolve(".".join(parts))
    except UserError:
        return
    assert issubclass(resolved, BaseEstimator)


def test_a_class_that_an_allowed_module_merely_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign(RandomForestClassifier):
        pass

    monkeypatch.setattr("sklearn.dummy.Foreign", Foreign, raising=False)
    with pytest.raises(UserError, match="not a classifier or regressor"):
        estimators.resolve("sklearn.dummy.Foreign")


def test_a_refused_path_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    code = "from trunkline.pipeline.train import estimators\nestimators.resolve('trap.Model')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "not in an allowed package" in done.stderr
    assert "imported" not in done.stderr


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            declared(max_dept=3),
            "model.max_dept: RandomForestClassifier has no such parameter; did you mean 'max_depth'?",
        ),
        (
            declared(max_depth="deep"),
            "model.max_depth: must be an int in the range [1, inf) or None. Got 'deep' instead.",
        ),
        (declared(_args_=[1]), "model._args_: RandomForestClassifier has no such parameter"),
        (declared(n_jobs=2), "model.n_jobs: is not set here; set TRUNKLINE_THREADS"),
        (declared(LIGHTGBM, num_leaves="many"), "model.num_leaves: Input should be a valid integer; got 'many'"),
        (declared(LIGHTGBM, num_leavs=3), "did you mean 'num_leaves'?"),
        (declared(LIGHTGBM, nthread=3), "model.nthread: LGBMClassifier has no such parameter"),
        (declared(LIGHTGBM, forcedsplits_filename="/etc/passwd"), "model.forcedsplits_filename: LGBMClassifier has no"),
        (declared(LIGHTGBM, deterministic=False), "model.deterministic: must be True"),
        (declared(LIGHTGBM, objective={"_target_": "os.system"}), "model.objective._target_: 'os.system' is not in"),
        (declared(CALIBRATED, estimator={"_target_": "os.system"}), "model.estimator._target_: 'os.system' is not in"),
        (declared(CALIBRATED, estimator={"_target_": 3}), "model.estimator._target_: must be text"),
        (declared(CALIBRATED, estimator={"_target_": FOREST, "depth": 3}), "model.estimator.depth: RandomForest"),
        (declared("sklearn.svm.LinearSVC"), "model._target_: LinearSVC gives no probabilities; wrap it"),
        (
            declared(preprocess={"categorical": {"encode": "native"}}),
            "model.preprocess.categorical.encode: RandomForest",
        ),
        (
            declared("sklearn.linear_model.Ridge"),
            "model._target_: Ridge is no classifier, which data.target.task: binary needs",
        ),
        (
            declared("sklearn.linear_model.LogisticRegression", preprocess={}),
            "model.preprocess.numeric.impute: LogisticRegression takes no missing values; use mean, median or zero",
        ),
        (
            declared(preprocess={"numeric": {"spline": {}}}),
            "model.preprocess.numeric.impute: spline takes no missing values; use mean, median or zero",
        ),
        (
            declared(LIGHTGBM, preprocess=NATIVE | {"numeric": {"impute": "mean", "pca": {"components": 2}}}),
            "native names columns by their place, which model.preprocess.numeric.pca moves; use onehot",
        ),
    ],
)
def test_a_wrong_parameter_is_one_line_with_its_key(model: Model, message: str) -> None:
    with pytest.raises(UserError) as caught:
        estimators.verify(model, "binary")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nested_estimators_follow_the_same_rules() -> None:
    model = declared(CALIBRATED, estimator={"_target_": FOREST, "max_depth": 3}, cv=3)
    estimators.verify(model, "binary")
    built = estimators.build(model, seed=5)
    assert isinstance(built.estimator, RandomForestClassifier)
    assert (built.estimator.max_depth, built.estimator.random_state) == (3, 5)
    members = [["forest", {"_target_": FOREST}], ["boosting", {"_target_": LIGHTGBM}]]
    voting = declared("sklearn.ensemble.VotingClassifier", estimators=members, voting="soft")
    estimators.verify(voting, "multiclass")
    assert [each.random_state for _, each in estimators.build(voting, seed=5).estimators] == [5, 5]


def test_a_declared_seed_stays_and_none_is_not_random() -> None:
    assert estimators.build(declared(random_state=3), seed=5).random_state == 3
    assert estimators.build(declared(random_state=None), seed=5).random_state == 5


def test_a_missing_package_and_a_missing_library_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(error: BaseException) -> Any:
        def load(name: str) -> Any:
            raise error

        return load

    monkeypatch.setattr(estimators.importlib, "import_module", missing(ModuleNotFoundError(name="lightgbm")))
    with pytest.raises(UserError, match=r"pip install 'trunkline\[lightgbm\]'"):
        estimators.resolve(LIGHTGBM)
    monkeypatch.setattr(estimators.importlib, "import_module", missing(OSError("libgomp.so.1: cannot open")))
    with pytest.raises(OutsideError, match="install the system libgomp"):
        estimators.resolve(LIGHTGBM)


def test_private_interfaces_that_are_relied_on_exist() -> None:
    assert callable(RandomForestClassifier._validate_params)
    assert "max_iter" in HistGradientBoostingClassifier._parameter_constraints
    from lightgbm.basic import LightGBMError, _ConfigAliases

    assert issubclass(LightGBMError, Exception)
    assert set(_ConfigAliases._get_all_param_aliases()) >= estimators._EXTRA["lightgbm"]
