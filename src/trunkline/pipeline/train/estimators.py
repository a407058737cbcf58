"""From conf/model to an estimator object, such that a config file can name estimators and nothing else.

`_target_` is an import path, and a config arrives in pull requests: the path is checked as text first, then
only its module is imported, and the class must be a classifier, regressor or ranker of an allowed package's own.
What could make results depend on the machine (threads, seeds, modes) is set here, not in conf/.
"""

import importlib
import inspect
import pkgutil
import re
import sys
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError

from trunkline.conf.model import CategoricalSteps, Model, Preprocess
from trunkline.core.errors import OutsideError, UserError, nearest, one_line
from trunkline.core.tasks import NUMERIC, Task
from trunkline.pipeline.train import counts, joint, labels, rankers, selection, stopping, weights

TARGET = "_target_"

# Allowed packages and, if not always installed, the extra of trunkline that installs them.
PACKAGES: dict[str, str | None] = {
    "sklearn": None,
    "catboost": "catboost",
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
}

# Modules of these packages that run or import what no estimator needs.
_INTERNAL = {"conftest", "experimental", "externals", "tests"}

_THREADS = "set TRUNKLINE_THREADS in the environment instead, since no result depends on it"
_NATIVE = "set model.preprocess.categorical.encode: native instead"
_FILES = "no training reads or writes files of its own"
_RESERVED = {
    **dict.fromkeys(("n_jobs", "thread_count"), _THREADS),
    **dict.fromkeys(
        ("categorical_features", "categorical_feature", "cat_features", "enable_categorical", "feature_types"), _NATIVE
    ),
    **dict.fromkeys(
        ("input_borders", "output_borders", "save_snapshot", "snapshot_file", "snapshot_interval", "train_dir"), _FILES
    ),
    **dict.fromkeys(("logging_level", "metric_period", "silent"), "a training shows its progress itself"),
    **dict.fromkeys(("callback", "callbacks"), "a file of configuration holds no code"),
    **dict.fromkeys(("text_features", "embedding_features"), "a feature is a number or a category"),
    "missing": "a missing value is one everywhere; model.preprocess.numeric.impute fills it",
    "random_seed": "set random_state instead",
}
# n_jobs 0 is "as many as OpenMP has": LightGBM writes the number into the model, which must not depend on it.
_ALWAYS: dict[str, dict[str, Any]] = {
    "catboost": {"allow_writing_files": False, "verbose": False},
    "lightgbm": {"n_jobs": 0, "deterministic": True, "force_row_wise": True},
}
# What LightGBM takes besides its signature; left out is what names files, machines or devices.
_EXTRA = {
    "lightgbm": frozenset(
        re.findall(
            r"\w+",
            """
        bagging_by_query bin_construct_sample_cnt boost_from_average cat_l2 cat_smooth data_sample_strategy
        deterministic drop_rate enable_bundle extra_trees feature_fraction_bynode feature_pre_filter
        force_row_wise interaction_constraints is_unbalance lambdarank_norm lambdarank_truncation_level linear_lambda
        linear_tree max_bin
        max_bin_by_feature max_cat_threshold max_cat_to_onehot max_delta_step max_drop min_data_in_bin
        min_data_per_group monotone_constraints monotone_constraints_method monotone_penalty
        neg_bagging_fraction num_grad_quant_bins other_rate path_smooth pos_bagging_fraction
        quant_train_renew_leaf scale_pos_weight skip_drop stochastic_rounding top_rate uniform_drop
        use_missing use_quantized_grad verbosity xgboost_dart_mode zero_as_missing
    """,
        )
    )
}
# LightGBM is given one text of all parameters, in which white space or = in a value would begin another parameter.
_WORDS = {"lightgbm": re.compile(r"[\w.,:+\[\]-]*")}
_PLAIN = bool | int | float | str | list[Any] | dict[Any, Any] | None


def verify(model: Model, task: Task, key: str = "model") -> None:
    """Raise UserError for a model that no training could make; imports the estimator's package only.

    It checks the class, the parameters, and that estimator, task and preprocessing fit each other; `key` is where they
    stand.
    """
    estimator = build(model, 0, key)
    name, wanted = type(estimator).__name__, kind(task)
    rankers.verify(model, estimator, task, key)
    if get_tags(estimator).estimator_type != wanted and not rankers.is_ranker(type(estimator)):
        raise UserError(f"{key}.{TARGET}: {name} is no {wanted}, which data.target.task: {task} needs")
    _verify_quantiles(model, estimator, task, key)
    labels.verify(model, estimator, task, key)
    if task == "count" and not counts.is_never_negative(estimator):
        raise UserError(f"{key}.{TARGET}: {name} as declared may predict less than 0; use a loss of counts, as poisson")
    _verify_joint(model, estimator, key)
    if get_tags(estimator).estimator_type == "classifier" and not hasattr(estimator, "predict_proba"):
        wrapper = "sklearn.calibration.CalibratedClassifierCV"
        raise UserError(f"{key}.{TARGET}: {name} gives no probabilities; wrap it as `estimator` of {wrapper}")
    _verify_steps(model.preprocess, estimator, f"{key}.preprocess")
    selection.verify(model.preprocess, weighing(model.preprocess, 0, key), task, f"{key}.preprocess")
    weights.verify(model.weight, estimator, key)
    stopping.verify(model.stop_early, estimator, key)


def _verify_steps(steps: Preprocess, estimator: BaseEstimator, key: str) -> None:
    """Raise UserError for steps that do not fit each other or the estimator."""
    name, encode, reshaping = type(estimator).__name__, steps.categorical.encode, steps.reshaping
    refusing = next((step for step in ("interactions", "spline", "pca") if getattr(steps.numeric, step)), None)
    if steps.numeric.impute == "none" and (refusing or not get_tags(labels.within(estimator)).input_tags.allow_nan):
        raise UserError(f"{key}.numeric.impute: {refusing or name} takes no missing values; use mean, median or zero")
    if steps.text is not None and native_support(estimator) == "table":
        raise UserError(f"{key}.text: {name} takes a table of features, not columns of words; use another estimator")
    if encode == "native" and native_support(estimator) is None:
        raise UserError(f"{key}.categorical.encode: {name} has no native categories; use onehot or ordinal")
    if encode == "native" and reshaping:
        raise UserError(
            f"{key}.categorical.encode: native names columns by their place, which {key}.{reshaping} moves; "
            "use onehot, ordinal or target"
        )
    if encode == "target" and steps.categorical.min_frequency is not None:
        raise UserError(f"{key}.categorical.min_frequency: encode: target smooths rare ones; remove it")


def _verify_joint(model: Model, estimator: BaseEstimator, key: str) -> None:
    """Raise UserError for preprocessing, or a mean, that means nothing for the graphs of sites."""
    if not isinstance(estimator, joint.Joint):
        return
    if model.preprocess != Preprocess(categorical=CategoricalSteps(encode="native")):
        raise UserError(
            f"{key}.preprocess: the sites' graphs bring their own; write {{categorical: {{encode: native}}}} alone"
        )
    if estimator.mean == "margins" and get_tags(estimator).estimator_type != "classifier":
        raise UserError(f"{key}.mean: only chances have margins; remove it")


def level_parameter(estimator: BaseEstimator) -> str | None:
    """Return the parameter that is the level of an estimator's quantile loss; None of one with another loss."""
    loss, parameter = _LEVELS.get(type(estimator).__name__, (None, ""))
    values = estimator.get_params(deep=False)
    return parameter if parameter and (loss is None or values.get(loss) == "quantile") else None


_LEVELS: dict[str, tuple[str | None, str]] = {  # what says that the loss is that of a quantile, and of which
    "HistGradientBoostingRegressor": ("loss", "quantile"),
    "GradientBoostingRegressor": ("loss", "alpha"),
    "LGBMRegressor": ("objective", "alpha"),
    "QuantileRegressor": (None, "quantile"),
}


def _verify_quantiles(model: Model, estimator: BaseEstimator, task: Task, key: str) -> None:
    """Raise UserError for what only the task quantile has, and for a model that could not give it quantiles."""
    if task != "quantile":
        if model.calibrate is not None:
            raise UserError(f"{key}.calibrate: has no meaning for {task}; remove it, or declare task: quantile")
        return
    if model.stop_early is not None:
        raise UserError(f"{key}.stop_early: has no meaning for quantile, which fits a model for each; remove it")
    parameter = level_parameter(estimator)
    if parameter is not None and parameter in model.parameters:
        raise UserError(f"{key}.{parameter}: is not set here; data.target.quantiles says which")
    if parameter is None and model.calibrate is None:
        raise UserError(
            f"{key}.calibrate: the key is missing: {type(estimator).__name__} as declared predicts one number; declare "
            "the share of rows that say how far off it is, such as 0.2, or a quantile loss"
        )


def kind(task: Task) -> str:
    """Return the type of estimator that a task needs, as scikit-learn calls it; a ranking may have a ranker instead."""
    return "regressor" if task in NUMERIC else "classifier"


def build(model: Model, seed: int, key: str = "model") -> BaseEstimator:
    """Return the unfitted estimator that conf/model declares, with `seed` wherever the config gives none.

    Raises UserError naming the key of an unknown class or parameter, or of a value that the class refuses.
    """
    pinned = {name: {"digest": site.digest, "rows": site.rows} for name, site in model.sites.items()}
    return _build(model.target, model.parameters | ({"sites": pinned} if pinned else {}), seed, key)


def native_support(estimator: BaseEstimator) -> Literal["parameter", "types", "fit", "table", "texts"] | None:
    """Return how an estimator learns which columns are categories.

    By a parameter that lists them, by one with the type of each column, by fit, by fit with a table in which they are
    integers, as texts in a table, or not at all.
    """
    if isinstance(estimator, joint.Joint):
        return "texts"
    parameters = estimator.get_params(deep=False)
    if "categorical_features" in parameters:
        return "parameter"
    if "enable_categorical" in parameters:
        return "types"
    fit = inspect.signature(estimator.fit).parameters
    if "cat_features" in fit:
        return "table"
    return "fit" if "categorical_feature" in fit else None


def refusals() -> tuple[type[Exception], ...]:
    """Return the exceptions by which the allowed packages refuse parameters or data."""
    named = (("lightgbm.basic", "LightGBMError"), ("xgboost.core", "XGBoostError"), ("catboost", "CatBoostError"))
    loaded = [getattr(sys.modules[module], name) for module, name in named if module in sys.modules]
    return (ValueError, *loaded)


def resolve(path: str, key: str = f"model.{TARGET}") -> type[BaseEstimator]:
    """Return the estimator class at an import path; nothing outside the allowed packages is ever imported.

    Raises UserError for anything but a classifier, regressor or ranker that an allowed package defines, and
    OutsideError for a missing system library that the package needs.
    """
    if path in joint.CLASSES:
        return joint.CLASSES[path]
    package, module, name = _split(path, key)
    try:
        content = vars(importlib.import_module(module))
    except ModuleNotFoundError as error:
        if error.name == package:
            install = f"pip install 'trunkline[{PACKAGES[package]}]'"
            raise UserError(f"{key}: {package} is not installed; run: {install}") from error
        submodules = [submodule.name for submodule in pkgutil.iter_modules(sys.modules[package].__path__)]
        public = [submodule for submodule in submodules if not submodule.startswith("_")]
        raise UserError(f"{key}: no module '{module}'{nearest(module.split('.')[1], public)}") from error
    except OSError as error:
        library = "libgomp" if "libgomp" in str(error) else "library that the message names"
        raise OutsideError(f"{package} cannot be loaded ({error}); install the system {library}") from error
    if not _is_estimator(content.get(name)):
        classes = [other for other, value in content.items() if _is_estimator(value) and other[0] != "_"]
        raise UserError(f"{key}: '{path}' is not a classifier or regressor, nor a ranker{nearest(name, classes)}")
    return typing.cast("type[BaseEstimator]", content[name])


def weighing(steps: Preprocess, seed: int, key: str = "model") -> BaseEstimator | None:
    """Return the unfitted estimator by whose weights columns are selected, as `build` does; None if there is none."""
    if steps.select is None or steps.select.from_model is None:
        return None
    parameters = dict(steps.select.from_model.estimator)
    where = f"{key}.preprocess.select.from_model.estimator"
    return _build(parameters.pop(TARGET, None), parameters, seed, where)


def _split(path: str, key: str) -> tuple[str, str, str]:
    parts = path.split(".")
    if parts[0] not in PACKAGES:
        raise UserError(f"{key}: '{path}' is not in an allowed package{nearest(parts[0], PACKAGES)}")
    named = 2 <= len(parts) <= 6 and all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{,60}", part) for part in parts)
    if not named or not _INTERNAL.isdisjoint(parts):
        raise UserError(f"{key}: '{path}' is not the public import path of a class, such as {parts[0]}.module.Name")
    return parts[0], ".".join(parts[:-1]), parts[-1]


def _is_estimator(value: object) -> bool:
    if not isinstance(value, type) or inspect.isabstract(value):
        return False
    package = value.__module__.split(".")[0]
    if package == "catboost":  # its classes follow scikit-learn's interface without inheriting from it
        return getattr(value, "_estimator_type", None) in ("classifier", "regressor")
    return (
        package in PACKAGES
        and issubclass(value, BaseEstimator)
        and (issubclass(value, ClassifierMixin | RegressorMixin) or rankers.is_ranker(value))
    )


def _build(path: object, declared: Mapping[str, Any], seed: int, key: str) -> BaseEstimator:
    if not isinstance(path, str):
        raise UserError(f"{key}.{TARGET}: must be text, the import path of a class")
    cls = resolve(path, f"{key}.{TARGET}")
    package = cls.__module__.split(".")[0]
    hints = _parameters(cls)
    _check_names(cls, declared, [*hints, *_EXTRA.get(package, ())], key)
    for name, value in declared.items():
        _check_texts(package, value, f"{key}.{name}")
    values = {name: _nested(value, seed, f"{key}.{name}") for name, value in declared.items()}
    _check_values(cls, values, hints, key)
    if "random_state" in hints and values.get("random_state") is None:
        values["random_state"] = seed
    fixed = _ALWAYS.get(package, {})
    for name, value in fixed.items():
        if values.get(name, value) != value:
            raise UserError(f"{key}.{name}: must be {value}, so that every machine builds the same model; remove it")
    return cls(**values | fixed)


def _parameters(cls: type) -> dict[str, Any]:
    """Return the named parameters of a class with their types (Any where it states none)."""
    return {
        parameter.name: Any if parameter.annotation is parameter.empty else parameter.annotation
        for parameter in _signature(cls)
    }


def _signature(cls: type) -> Iterator[inspect.Parameter]:
    """Yield the named parameters of a class; what a class of XGBoost's hands on to its parents is named there."""
    unnamed, seen = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL), set()
    parents = [parent for parent in cls.__mro__ if parent.__module__.startswith("xgboost.")]
    for each in parents or [cls]:
        for parameter in inspect.signature(each, eval_str=True).parameters.values():
            if parameter.kind not in unnamed and parameter.name not in seen:
                seen.add(parameter.name)
                yield parameter


def _nested(value: Any, seed: int, key: str) -> Any:
    """Replace every mapping that has `_target_` by the estimator it declares."""
    if isinstance(value, list):
        return [_nested(item, seed, f"{key}.{index}") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if TARGET in value:
        return _build(value[TARGET], {name: item for name, item in value.items() if name != TARGET}, seed, key)
    return {name: _nested(item, seed, f"{key}.{name}") for name, item in value.items()}


def _check_names(cls: type, declared: Collection[str], valid: Sequence[str], key: str) -> None:
    for name in declared:
        if name in _RESERVED:
            raise UserError(f"{key}.{name}: is not set here; {_RESERVED[name]}")
        if name not in valid:
            allowed = [other for other in valid if other not in _RESERVED]
            raise UserError(f"{key}.{name}: {cls.__name__} has no such parameter{nearest(name, allowed)}")
    for parameter in _signature(cls):
        if parameter.default is inspect.Parameter.empty and parameter.name not in declared:
            raise UserError(f"{key}.{parameter.name}: the key is missing: {cls.__name__} needs it")


def _check_texts(package: str, value: Any, key: str) -> None:
    """Raise UserError for a text that a package would read as more than one value."""
    if isinstance(value, list | dict):
        for part in [*value, *(value.values() if isinstance(value, dict) else ())]:
            _check_texts(package, part, key)
    elif isinstance(value, str) and (word := _WORDS.get(package)) and not word.fullmatch(value):
        raise UserError(f"{key}: '{one_line(value)[:60]}' is no single word; write the value alone")


def _check_values(cls: type[BaseEstimator], values: Mapping[str, Any], hints: Mapping[str, Any], key: str) -> None:
    if hasattr(cls, "_parameter_constraints"):
        try:
            cls(**values)._validate_params()
        except InvalidParameterError as error:
            message = one_line(error)
            named = re.match(r"The '(\w+)' parameter of \w+ ", message)
            where, what = (f"{key}.{named[1]}", message[named.end() :]) if named else (key, message)
            raise UserError(f"{where}: {what}") from error
        return
    for name, value in values.items():
        try:
            hint = _declarable(hints.get(name, _PLAIN))
            TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value, strict=True)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            raise UserError(f"{key}.{name}: {message}; got {value!r}") from error


def _declarable(hint: Any) -> Any:
    """Return a type without those parts of a union that no file can declare: protocols, which code implements."""
    if typing.get_origin(hint) is not typing.Union:
        return hint
    return typing.Union[tuple(part for part in typing.get_args(hint) if not getattr(part, "_is_protocol", False))]  # noqa: UP007
