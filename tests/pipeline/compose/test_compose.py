"""conf/ as people edit it: every option composes, and every mistake is one line with file, line, key and remedy."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.core.errors import UserError
from trunkline.core.safe_yaml import parse_yaml
from trunkline.pipeline.compose import files, keep
from trunkline.pipeline.compose.compose import compose, render
from trunkline.pipeline.compose.files import Composed
from trunkline.pipeline.compose.judge import check

CONF = Path(__file__).parents[3] / "conf"
OPTIONS = [(group, option) for group in files.groups(CONF) for option in files.options(CONF, group)]


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


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_every_option_of_every_group_composes_and_is_right(group: str, option: str) -> None:
    composed = compose(CONF, [f"{group}={option}", *_experiment(group, option)])
    project = check(composed, CONF)
    assert project.model.target
    assert parse_yaml(render(composed.content)) == composed.content


def _experiment(group: str, option: str) -> list[str]:
    """Return the experiment that picks an option: those of another problem belong together."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted((CONF / "experiment").glob("*.yaml"))}
    found = [name for name, text in texts.items() if f"override /{group}: {option}\n" in text]
    found += ["diabetes"] if option.endswith("_regression") else []
    return [f"experiment={found[0]}"] if found else []


def test_params_are_what_conf_composes_to(root: Path) -> None:
    assert (root / "params.yaml").read_text(encoding="utf-8") == render(compose(CONF).content)


def test_the_order_of_keys_does_not_matter(conf: Path) -> None:
    before = render(compose(conf).content)
    content = yaml.safe_load((conf / "model/gbm.yaml").read_text(encoding="utf-8"))
    (conf / "model/gbm.yaml").write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))
    assert render(compose(conf).content) == before


MISTAKES = yaml.safe_load((Path(__file__).parents[2] / "golden/mistakes.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake["new"][:40] for mistake in MISTAKES])
def test_a_mistake_is_one_line_with_place_key_and_remedy(conf: Path, mistake: dict[str, str]) -> None:
    replace(conf / mistake["file"], mistake["old"], mistake["new"])
    with pytest.raises(UserError) as refused:
        check(compose(conf, [f"experiment={mistake['experiment']}"] if "experiment" in mistake else []), conf)
    lines = str(refused.value).splitlines()
    assert any(mistake["told"] in line for line in lines), refused.value
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
        "conf/gates/flights.yaml",
    ]


def test_of_many_mistakes_the_first_are_told_and_the_others_counted(conf: Path) -> None:
    file = conf / "contract/flights.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("type: integer", "type: intger"), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        check(compose(conf), conf)
    lines = str(refused.value).splitlines()
    count = file.read_text(encoding="utf-8").count("intger")
    assert (len(lines), lines[-1]) == (11, f"and {count - 10} more; correct these first")


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
    (conf / "model/link.yaml").symlink_to("/etc/hosts")
    with pytest.raises(UserError, match="is a symbolic link"):
        compose(conf)


@settings(max_examples=20)
@given(text=st.text(max_size=60))
def test_no_text_in_a_config_gives_a_traceback(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    conf = tmp_path_factory.mktemp("hostile") / "conf"
    shutil.copytree(CONF, conf)
    (conf / "tracking/mlflow.yaml").write_text(f"experiment: {text}\n", encoding="utf-8")
    with suppress(UserError):  # any other exception would be a traceback
        check(compose(conf), conf)


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
    suggestion = keep.suggest(conf, found)
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
    assert keep.suggest(conf, found).beyond == ("model.l2_regularization",)
