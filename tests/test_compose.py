"""conf/ as people edit it: every option composes, and every mistake is one line with file, line, key and remedy."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline import conffiles, experiments
from trunkline.compose import Composed, check, compose, render
from trunkline.errors import UserError
from trunkline.files import parse_yaml

CONF = Path(__file__).parent.parent / "conf"
OPTIONS = [(group, option) for group in conffiles.groups(CONF) for option in conffiles.options(CONF, group)]


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's conf/ to break, in the working directory."""
    shutil.copytree(CONF, tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    return Path("conf")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda value: str(value))
def test_every_option_of_every_group_composes_and_is_right(group: str, option: str) -> None:
    composed = compose(CONF, [f"{group}={option}"])
    project = check(composed, CONF)
    assert project.model.target
    assert parse_yaml(render(composed.content)) == composed.content


def test_params_are_what_conf_composes_to(root: Path) -> None:
    assert (root / "params.yaml").read_text(encoding="utf-8") == render(compose(CONF).content)


def test_the_order_of_keys_does_not_matter(conf: Path) -> None:
    before = render(compose(conf).content)
    content = yaml.safe_load((conf / "model/gbm.yaml").read_text(encoding="utf-8"))
    (conf / "model/gbm.yaml").write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))
    assert render(compose(conf).content) == before


MISTAKES = [
    ("config.yaml", "seed: 20130701", "sede: 1", "conf/config.yaml:13: sede: unknown key; did you mean 'seed'?"),
    ("config.yaml", "seed: 20130701", "seed: often", "conf/config.yaml:13: seed: Input should be a valid integer, not 'often'"),
    ("config.yaml", "model: gbm", "model: gmb", "conf: model: there is no option 'gmb' in conf/model; did you mean 'gbm'?"),
    ("config.yaml", "name: flight-delay", "name: Flight Delay", "conf/config.yaml:12: name: String should match pattern"),
    ("data/flights.yaml", "holdout: 2013-07", "holdout: 2013-06", "conf/data/flights.yaml:3: data.window: train ends on 2013-07-01 (exclusive), after holdout starts on 2013-06-01; move one of them"),
    ("data/flights.yaml", "holdout: 2013-07", "holdout: 2013-13", "conf/data/flights.yaml:3: data.window.holdout: month must be in 1..12"),
    ("data/flights.yaml", "holdout: 2013-07", "holdout: July", "conf/data/flights.yaml:3: data.window.holdout: 'July' is not a month (2013-07) or a day (2013-07-31)"),
    ("data/flights.yaml", "observations: flights", "observations: flihgts", "data.observations: no source 'flihgts'; did you mean 'flights'?"),
    ("data/flights.yaml", "America/New_York", "America/New_Yrok", "data.timezone: no time zone 'America/New_Yrok'; did you mean 'America/New_York'?"),
    ("data/flights.yaml", "known_after: 1d", "known_after: a day", "data.target.known_after: 'a day' is not a duration such as 90s, 30min, 2h or 7d"),
    ("data/flights.yaml", "  planes: {", "  plains: {", "contract.tables: source 'plains' has no contract; did you mean 'planes'?"),
    ("model/gbm.yaml", "learning_rate: 0.05", "learning_rat: 0.05", "conf/model/gbm.yaml:3: model.learning_rat: "),
    ("model/gbm.yaml", "learning_rate: 0.05", "learning_rate: fast", "conf/model/gbm.yaml:3: model.learning_rate: "),
    ("model/gbm.yaml", "sklearn.ensemble.HistGradientBoostingClassifier", "os.system", "conf/model/gbm.yaml:2: model._target_: "),
    ("model/gbm.yaml", "HistGradientBoostingClassifier", "HistGradientBostingClassifier", "did you mean 'HistGradientBoostingClassifier'?"),
    ("model/gbm.yaml", "encode: native", "encode: nativ", "conf/model/gbm.yaml:13: model.preprocess.categorical.encode: 'nativ' is not allowed; did you mean 'native'?"),
    ("evaluation/binary.yaml", "roc_auc", "roc_acu", "conf/evaluation/binary.yaml:2: evaluation.metrics: no metric 'roc_acu'; did you mean 'roc_auc'?"),
    ("evaluation/binary.yaml", "origin: origin", "origin: orign", "evaluation.slices.origin: no column 'orign'; did you mean 'origin'?"),
    ("evaluation/binary.yaml", "origin: origin", "origin: arr_delay", "evaluation.slices.origin: no column 'arr_delay'"),
    ("evaluation/binary.yaml", "confidence: 0.95", "confidence: 95", "evaluation.interval.confidence: Input should be less than 1, not 95"),
    ("features/static_weather.yaml", "kind: lookup", "kind: look-up", "features.views.plane: 'look-up' is not allowed; did you mean 'lookup'?"),
    ("features/static_weather.yaml", "temperature: temp", "temperature: tmep", "conf/features/static_weather.yaml:39: features.views.weather.features.temperature: no column 'tmep'; did you mean 'temp'?"),
    ("features/static_weather.yaml", "max_age: 6h", "max_aeg: 6h", "conf/features/static_weather.yaml:37: features.views.weather.max_aeg: unknown key; did you mean 'max_age'?"),
    ("features/static_weather.yaml", "stream: observations", "stream: observation", "no stream 'observation'; did you mean 'observations'?"),
    ("contract/flights.yaml", "unique: [origin, time_hour]", "unique: [origin, time_huor]", "contract.tables.weather: no column 'time_huor'; did you mean 'time_hour'?"),
    ("tracking/mlflow.yaml", "experiment: flight-delay", "experiment: ''", "tracking.experiment: String should have at least 1 character"),
    ("tracking/mlflow.yaml", "experiment: flight-delay", "experiment: ${oc.env:HOME}", "conf/tracking/mlflow.yaml:4: '${oc.env:HOME}' calls a resolver"),
    ("config.yaml", "name: flight-delay", "name: flight-delay\nhydra: {searchpath: [file:///tmp]}", "conf/config.yaml: hydra: Hydra's own settings are not part of a project"),
    ("config.yaml", "model: gbm", "model: ../../etc/gbm", "leaves conf/; name an option of a group"),
    ("config.yaml", "name: flight-delay", "name: [flight", "conf/config.yaml:"),
    ("config.yaml", "name: flight-delay", "name: &a flight-delay\nsame: *a", "conf/config.yaml:12: YAML anchors are not used in conf/"),
    ("config.yaml", "name: flight-delay", "name: ${nmae}", "conf: "),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "message"), MISTAKES, ids=[mistake[2][:40] for mistake in MISTAKES])
def test_a_mistake_is_one_line_with_place_key_and_remedy(
    conf: Path, file: str, old: str, new: str, message: str
) -> None:
    replace(conf / file, old, new)
    with pytest.raises(UserError) as refused:
        check(compose(conf), conf)
    lines = str(refused.value).splitlines()
    assert any(message in line for line in lines), refused.value
    assert all(line.startswith("conf") for line in lines)
    assert len(lines) <= 2  # a renamed thing is missed at both ends


def test_all_mistakes_are_reported_at_once(conf: Path) -> None:
    replace(conf / "model/gbm.yaml", "learning_rate: 0.05", "learning_rat: 0.05")
    replace(conf / "evaluation/binary.yaml", "roc_auc", "roc_acu")
    with pytest.raises(UserError) as refused:
        check(compose(conf), conf)
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "conf/model/gbm.yaml",
        "conf/evaluation/binary.yaml",
    ]


def test_an_experiment_is_blamed_for_what_it_sets(conf: Path) -> None:
    (conf / "experiment/bad.yaml").write_text("# @package _global_\nmodel:\n  max_iter: -1\n")
    with pytest.raises(UserError, match=r"^conf/experiment/bad.yaml:3: model.max_iter: "):
        check(compose(conf, ["experiment=bad"]), conf)


def test_without_files_of_conf_the_fallback_is_named() -> None:
    content = {**compose(CONF).content, "seed": -1}
    with pytest.raises(UserError, match=r"^params.yaml: seed: "):
        check(Composed(content, ()), Path("params.yaml"))


def test_symbolic_links_and_yml_are_refused(conf: Path) -> None:
    (conf / "model/other.yml").write_text("a: 1\n")
    with pytest.raises(UserError, match=r"conf/model/other.yml: Hydra reads .yaml only; rename it to other.yaml"):
        compose(conf)
    (conf / "model/other.yml").unlink()
    os.symlink("/etc/hosts", conf / "model/link.yaml")
    with pytest.raises(UserError, match="is a symbolic link"):
        compose(conf)


@settings(max_examples=20)
@given(text=st.text(max_size=60))
def test_no_text_in_a_config_gives_a_traceback(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    conf = tmp_path_factory.mktemp("hostile") / "conf"
    shutil.copytree(CONF, conf)
    (conf / "tracking/mlflow.yaml").write_text(f"experiment: {text}\n", encoding="utf-8")
    try:
        check(compose(conf), conf)
    except UserError as error:
        assert "Traceback" not in str(error)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=forest"],
        ["model.max_iter=9"],
        ["model=forest", "model.max_depth=9", "seed=7"],
        ["features=static_weather"],
    ],
)
def test_a_suggested_experiment_composes_to_what_was_found(conf: Path, overrides: list[str]) -> None:
    found = compose(conf, overrides).content
    suggestion = experiments.suggest(conf, found)
    if suggestion.existing:
        kept = suggestion.existing
    else:
        kept = "kept"
        (conf / "experiment/kept.yaml").write_text(suggestion.text, encoding="utf-8")
    assert not suggestion.beyond
    assert compose(conf, [f"experiment={kept}"]).content == found


def test_a_removed_key_is_said_to_be_beyond_an_experiment(conf: Path) -> None:
    found = compose(conf).content
    del found["model"]["l2_regularization"]
    assert experiments.suggest(conf, found).beyond == ("model.l2_regularization",)
