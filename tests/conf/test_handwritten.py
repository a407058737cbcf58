"""A conf/ that somebody means ill with: one line, soon, and nothing of the machine in it; the same for files in git."""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.conf import handwritten, registry
from trunkline.core import expressions, safe_yaml
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.pipeline.compose.compose import compose
from trunkline.pipeline.compose.judge import check

CONF = Path(__file__).parents[2] / "conf"
TRACKING, MODEL, DATA, CONTRACT = "tracking/mlflow.yaml", "model/gbm.yaml", "data/flights.yaml", "contract/flights.yaml"
SECRET = "an-environment-that-no-message-may-show"
SECONDS = 30  # what takes less than one on a quiet machine


def refusal(conf: Path) -> str | None:
    """Compose and judge; return the message of the refusal. Any other exception is what these tests look for."""
    begun = time.monotonic()
    try:
        check(compose(conf), conf)
    except UserError as error:
        message = str(error)
        assert message.strip()
        assert all(re.match(rf"{conf}|and \d+ more; ", line) for line in message.splitlines()), message
        assert SECRET not in message
        return message
    finally:
        assert time.monotonic() < begun + SECONDS
    return None


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's conf/ to attack, in the working directory."""
    shutil.copytree(CONF, tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRUNKLINE_SECRET", SECRET)
    return Path("conf")


def doubling(reference: str, levels: int = 40) -> str:
    """Lines of which each holds twice what the next one holds."""
    lines = [f"a{i}: " + reference.replace("N", str(i + 1)) for i in range(levels)]
    return "\n".join(["experiment: ${tracking.a0}", *lines, f"a{levels}: x"])


# The whole text of a file, and what must be told.
TEXTS: list[tuple[str, str, str | bytes, str]] = [
    ("deep lists", TRACKING, "experiment: " + "[" * 90_000 + "]" * 90_000, "nested deeper than 50 levels"),
    ("deep mappings", TRACKING, "{experiment: " * 10_000, "nested deeper than 50 levels"),
    ("deep dashes", TRACKING, "experiment:\n  " + "- " * 90_000, "nested deeper than 50 levels"),
    ("deep in a default list", "config.yaml", "defaults: " + "[" * 90_000, "nested deeper than 50 levels"),
    ("aliases", TRACKING, "a: &a [x, x]\nb: &b [*a, *a]\nexperiment: [*b, *b]\n", "anchors are not used"),
    ("a list of itself", TRACKING, "experiment: &a [*a]\n", "anchors are not used"),
    ("doubling references", TRACKING, doubling('"${tracking.aN}${tracking.aN}"'), "refers on"),
    ("doubling containers", TRACKING, doubling("{x: '${tracking.aN}', y: '${tracking.aN}'}"), "refers on"),
    ("a reference to itself", TRACKING, "experiment: ${tracking.experiment}\n", "refers on"),
    ("many copies", TRACKING, f"a: {'x' * 19_000}\nexperiment: '{'${tracking.a}' * 900}'\n", "copies too much"),
    ("the environment", TRACKING, "experiment: ${oc.env:TRUNKLINE_SECRET}\n", "calls a resolver"),
    ("a resolver by reference", TRACKING, "r: oc.env\nexperiment: ${${tracking.r}:TRUNKLINE_SECRET}\n", "resolver"),
    ("a resolver in a key", TRACKING, "experiment: x\n'${oc.env:TRUNKLINE_SECRET}': y\n", "calls a resolver"),
    ("another resolver", TRACKING, "experiment: ${oc.create:'{a: b}'}\n", "calls a resolver"),
    ("an open reference", TRACKING, f"experiment: '{'${' * 9_000}'\n", "calls a resolver"),
    ("Hydra's settings", TRACKING, "experiment: ${hydra.runtime.cwd}\n", "refer to a key that exists"),
    ("a call", TRACKING, "experiment: !!python/object/apply:os.system [id]\n", "tags are not used"),
    ("no boolean", TRACKING, "experiment: !!bool perhaps\n", "tags are not used"),
    ("a tag of ours", TRACKING, "experiment: !x y\n", "tags are not used"),
    ("no such day", TRACKING, "experiment: !!timestamp 2013-99-99\n", "tags are not used"),
    ("a list as key", TRACKING, "experiment: x\n? [a, b]\n: c\n", "unhashable key"),
    ("a mapping as key", TRACKING, "experiment: x\n? {a: b}\n: c\n", "unhashable key"),
    ("nothing as key", TRACKING, "experiment: x\n~: y\n", "a key must be a name"),
    ("a merge", TRACKING, "<<: {experiment: x}\n", "a key must be a name"),
    ("__class__", TRACKING, "experiment: x\n__class__: y\n", "tracking.__class__: unknown key"),
    ("OmegaConf's own", TRACKING, "experiment: x\n_content: {}\n_metadata: y\n_flags_: z\n", "unknown key"),
    ("a hole", TRACKING, "experiment: ???\n", "is no value"),
    ("NUL", TRACKING, 'experiment: "a\\0b"\n', "is no value"),
    ("a long text", TRACKING, f"experiment: {'x' * 30_000}\n", "more than 20000 characters"),
    ("many digits", TRACKING, f"experiment: {'9' * 5_000}\n", "does not fit"),
    ("a number to base 60", TRACKING, f"experiment: {'1:' * 9_000}1\n", "does not fit 64 bits"),
    (
        "a word for false",
        TRACKING,
        "experiment: x\nnote: no\n",
        "yaml:2: note: YAML reads no as false; put it in quotes",
    ),
    ("a word for true as key", TRACKING, "experiment: x\nmore: {On: 1}\n", "yaml:2: more: YAML reads On as true"),
    (
        "a time of day",
        TRACKING,
        "experiment: x\nat: [12:30]\n",
        "yaml:2: at: YAML reads 12:30 as 750; put it in quotes",
    ),
    ("seconds of a day", TRACKING, "at: -1:30.5\n", "yaml:1: at: YAML reads -1:30.5 as -90.5"),
    ("an id with zeros", TRACKING, "at: 0123\n", "yaml:1: at: YAML reads 0123 as 83; put it in quotes, or write 83"),
    ("10 MB", TRACKING, b"experiment: " + b"x" * 10_000_000, "a config is written by hand"),
    ("a lot of keys", TRACKING, "".join(f"k{i}: 1\n" for i in range(5_000)), "unknown key"),
    ("UTF-16", TRACKING, "experiment: é\n".encode("utf-16"), "not UTF-8"),
    ("Latin-1", TRACKING, "experiment: é\n".encode("latin-1"), "not UTF-8"),
    ("two documents", TRACKING, "experiment: x\n---\nexperiment: y\n", "another document"),
    ("package hydra", TRACKING, "# @package hydra\nrun: {dir: /}\n", "@package hydra is not allowed"),
    ("package _global_", TRACKING, "# @package _global_\nseed: 1\n", "@package _global_ is not allowed"),
    ("an experiment's package", "experiment/x.yaml", "# @package model\nx: 1\n", "@package model is not allowed"),
    (
        "a comment that Hydra reads",
        TRACKING,
        "#@The tracking: where runs go.\n",
        "@The tracking: where runs go. is not",
    ),
    ("a header without a value", "experiment/x.yaml", "# @package\nx: 1\n", "@package is not allowed"),
    ("an option of itself", MODEL, "defaults: [gbm]\n", "inherits from itself"),
    ("no list of defaults", TRACKING, "defaults: other\n", "must be a list"),
    ("an address in defaults", "config.yaml", "defaults: ['file:///etc/passwd']\n", "leaves conf/"),
    ("a way out in defaults", TRACKING, "defaults: [../../etc/passwd]\n", "leaves conf/"),
    ("another package in defaults", TRACKING, "defaults: [/model@x: forest]\n", "is not allowed here"),
    ("a model elsewhere", "search/none.yaml", "defaults: [/model@_global_.model: forest]\n", "is not allowed here"),
    (
        "another group in a family",
        "search/none.yaml",
        "defaults: [/data@families.a.model: bts]\n",
        "is not allowed here",
    ),
    ("Hydra in defaults", "config.yaml", "defaults: [override hydra/launcher: x]\n", "leaves conf/"),
    ("a resolver in defaults", "config.yaml", "defaults: [model: '${oc.env:HOME}']\n", "calls a resolver"),
    ("a search path", "config.yaml", "hydra: {searchpath: ['file:///etc']}\n", "Hydra's own settings"),
    ("a folder as file", "model/x.yaml/y.yaml", "x: 1\n", "is no file"),
]


@given(text=st.from_regex(r"[-+]?[0-9:_.eEox]{1,9}|[a-zA-Z~]{1,5}", fullmatch=True))
def test_a_plain_value_is_read_as_it_is_written_or_refused(text: str) -> None:
    """What stands without quotes is a text, nothing, or a number or a truth as people write one."""
    try:
        handwritten.lint_text(Path("x.yaml"), f"key: {text}\n")
    except UserError:
        return
    value = safe_yaml.parse_yaml(f"key: {text}\n")["key"]
    if value is None:
        assert text.lower() in ("~", "null")
    elif isinstance(value, bool):
        assert text.lower() == str(value).lower()
    elif isinstance(value, int):
        assert value == int(text, 0)
    elif isinstance(value, float):
        assert value == float(text)
    else:
        assert value == text


@pytest.mark.parametrize(("file", "text", "told"), [case[1:] for case in TEXTS], ids=[case[0] for case in TEXTS])
def test_a_hostile_file_is_refused_with_a_line(conf: Path, file: str, text: str | bytes, told: str) -> None:
    (conf / file).parent.mkdir(exist_ok=True)
    (conf / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refusal(conf)
    assert message is not None
    assert told in message
    assert len(message.splitlines()) <= 20


ESTIMATOR, RATE = "sklearn.ensemble.HistGradientBoostingClassifier", "learning_rate: 0.05"
PATTERN, LABEL = 'pattern: "[0-9A-Z]{5,7}", on_failure', "expression: arr_delay > 15"
VALUES: list[tuple[str, str, str, str]] = [
    *((MODEL, ESTIMATOR, path, "not in an allowed package") for path in ("os.system", "builtins.eval", "x" * 9_000)),
    *(
        (MODEL, ESTIMATOR, path, "not the public import path")
        for path in (
            "sklearn.externals.array_api_compat.torch.X",
            "sklearn.utils._testing.os.system",
            "sklearn.tests.test_base.MyEstimator",
            "sklearn.conftest.X",
            "sklearn." * 2_000 + "X",
            '"sklearn.ense\\nmble.X"',
        )
    ),
    *(
        (MODEL, ESTIMATOR, path, "not a classifier or regressor")
        for path in ("sklearn.utils.subprocess", "sklearn.base.BaseEstimator", "sklearn.pipeline.Pipeline")
    ),
    (MODEL, RATE, "_partial_: true", "no such parameter"),
    (MODEL, RATE, "_args_: [1]", "no such parameter"),
    (MODEL, RATE, "__class__: os.system", "no such parameter"),
    (MODEL, RATE, "verbose: {_target_: os.system}", "not in an allowed package"),
    (MODEL, RATE, "class_weight: {a: {b: [{_target_: os.system}]}}", "not in an allowed package"),
    (MODEL, RATE, "class_weight: {_target_: 3}", "must be text"),
    (MODEL, RATE, "learning_rate: .nan", "must be a float"),
    (MODEL, RATE, "learning_rate: 1e999999999", "must be a float"),
    (MODEL, RATE, f"max_depth: 0x{'f' * 400}", "does not fit 64 bits"),
    *((CONTRACT, PATTERN, f"pattern: '{p}', on_failure", "regular") for p in ("x{99999999999}", "(" * 900, "[a")),
    *((DATA, "path: nycflights13/", f"path: {p}/", "path inside") for p in ("../..", "/etc", "x/../../..")),
    (DATA, "holdout: 2013-07", "holdout: 9999-12-31", "too late"),
    (DATA, "holdout: 2013-07", "holdout: 2013\t07", "cannot start any token"),
    (DATA, "holdout: 2013-07", "holdout: 0000-00", "year 0"),
    *(
        (DATA, LABEL, f"expression: '{text}'", told)
        for text, told in (
            ("-" * 990 + "1", "levels deep"),
            ("not " * 240 + "1", "levels deep"),
            ("arr_delay" + " + 1" * 240, "levels deep"),
            ("9" * 900, "64 bits"),
            ("1e400 > 1", "finite"),
            ('"\\ud800" == "a"', "surrogate"),
            ("10**10**10", "not allowed"),
            ('__import__("os")', "no function"),
            ("arr_delay.__class__", "not allowed"),
            ("lambda: 1", "not allowed"),
        )
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), VALUES, ids=[case[2][:40] for case in VALUES])
def test_a_hostile_value_is_refused_with_a_line(conf: Path, file: str, old: str, new: str, told: str) -> None:
    text = (conf / file).read_text(encoding="utf-8")
    assert old in text
    (conf / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    message = refusal(conf)
    assert message is not None
    assert told in message


def test_options_that_inherit_ever_more_are_refused(conf: Path) -> None:
    for i in range(25):
        (conf / f"model/f{i}.yaml").write_text(f"defaults: [f{i + 1}, g{i + 1}]\n")
        (conf / f"model/g{i}.yaml").write_text(f"defaults: [f{i + 1}, g{i + 1}]\n")
    assert "inherits from more than 30 files" in (refusal(conf) or "")


def test_features_that_double_are_refused() -> None:
    definitions = {f"f{i}": expressions.parse(f"f{i + 1} + f{i + 1}") for i in range(60)}
    with pytest.raises(ValueError, match="has at most 10000 parts"):
        expressions.substitute(expressions.parse("f0"), definitions)
    chained = {f"f{i}": expressions.parse(f"f{i + 1} + 1") for i in range(400)}
    with pytest.raises(ValueError, match="levels deep"):
        expressions.substitute(expressions.parse("f0"), chained)


@pytest.mark.parametrize("name", ["conf", "conf/model", "conf/model/gbm.yaml"])
def test_a_link_out_of_conf_is_refused(conf: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).rename(tmp_path / "elsewhere")
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    assert "is a symbolic link" in (refusal(conf) or "")


# Nesting that crashes libyaml's reader, aliases that fill the memory, and values that their tag does not fit.
BOMBS = {
    "deep": "a: " + "[" * 100_000,
    "deep and whole": "a: " + "{a: " * 100_000 + "1" + "}" * 100_000,
    "laughs": "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1},' * 10}]\n" for i in range(1, 12)),
    "itself": "a: &a [*a]\n",
    "digits": "a: " + "9" * 5_000,
    "boolean": "a: !!bool perhaps",
    "call": "a: !!python/object/apply:os.system [id]",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=list(BOMBS))
def test_a_bomb_in_a_file_of_another_commit_is_refused(tmp_path: Path, text: str) -> None:
    """params.yaml, dvc.lock and the registry file are read from commits that anyone may have made."""
    with pytest.raises(yaml.YAMLError):
        safe_yaml.parse_yaml(text)
    with pytest.raises(UserError, match=r"models/registry.yaml(:1)?: "):
        registry.parse(text, "flight-delay", Path("models/registry.yaml"))
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params.yaml: not YAML: "):
        Params.read(tmp_path)


def test_anchors_that_are_harmless_can_be_read() -> None:
    assert safe_yaml.parse_yaml("a: &x [1, 2]\nb: *x\nc: {<<: {d: 1}}\n") == {"a": [1, 2], "b": [1, 2], "c": {"d": 1}}


def test_a_refusal_takes_no_memory_and_exits_with_2(conf: Path) -> None:
    """In a process of its own, which a crash of the parser would kill and a bomb would fill."""
    for text in ("experiment: " + "[" * 90_000, doubling('"${tracking.aN}${tracking.aN}"'), "experiment: &a [*a]"):
        (conf / TRACKING).write_text(text)
        done = subprocess.run(
            [Path(sys.executable).parent / "trunkline", "compose", "--check"],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: conf/tracking/mlflow.yaml:1: ")
        assert len(done.stderr.splitlines()) == 1


NASTY = st.sampled_from(
    [
        *("", "null", "???", "[]", "{}", "[[[]]]", "-1", "1e400", ".nan", "9" * 30, "true", "'\U0001f600'", ".."),
        *(
            "/etc/passwd",
            "${name}",
            "${seed}",
            "${oc.env:TRUNKLINE_SECRET}",
            "${",
            "{_target_: os.system}",
            "*x",
            "&x y",
        ),
        *("!!int z", "'\\'", "2013-13", "9999-12-31..9999-12-31", "1000000d", "'(((('", "a.b.c", "sklearn.x"),
        *("{1: 2, a: [b, c]}", "x\ty", "\x07"),
    ]
)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[Path, bytes]:
    """A file of conf/ with a line deleted, doubled, moved in or out, or a value or some bytes replaced."""
    path = draw(st.sampled_from(sorted(CONF.rglob("*.yaml"))))
    lines = path.read_text(encoding="utf-8").splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    key, colon, _ = lines[number].partition(":")
    value = draw(st.one_of(NASTY, st.text(max_size=20)))
    replaced = [
        [],
        [lines[number]] * 2,
        ["  " + lines[number]],
        [lines[number].strip()],
        [f"{key}{colon} {value}"],
        [f"{key}: {value}"],
        [f"{value}: {key}"],
    ]
    lines[number : number + 1] = draw(st.sampled_from(replaced))
    mutated = bytearray("\n".join(lines).encode(errors="replace"))
    for _ in range(draw(st.integers(0, 2))):
        mutated[draw(st.integers(0, max(0, len(mutated) - 1)))] = draw(st.integers(0, 255))
    return path.relative_to(CONF), bytes(mutated)


@pytest.fixture(scope="module")
def prey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of conf/, of which one file at a time is changed, alone in a folder, which is the working directory."""
    folder, before = tmp_path_factory.mktemp("prey"), Path.cwd()
    shutil.copytree(CONF, folder / "conf")
    os.environ["TRUNKLINE_SECRET"] = SECRET
    os.chdir(folder)
    yield Path("conf")
    os.chdir(before)
    del os.environ["TRUNKLINE_SECRET"]


def contents(folder: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def judged(conf: Path, overrides: list[str]) -> str:
    """Return what conf/ composes to, or why it is refused."""
    try:
        composed = compose(conf, overrides)
        check(composed, conf)
    except UserError as error:
        return str(error)
    return str(composed.content)


@settings(max_examples=120)
@given(mutation=mutations())
def test_any_mutation_is_a_project_or_refused_and_writes_nothing(prey: Path, mutation: tuple[Path, bytes]) -> None:
    file, mutated = mutation
    original = (prey / file).read_bytes()
    overrides = [f"{file.parent}={file.stem}"] if file.parent.name else []
    try:
        (prey / file).write_bytes(mutated)
        before = contents(Path())
        said = judged(prey, overrides)
        assert said.strip()
        assert SECRET not in said
        assert contents(Path()) == before
    finally:
        (prey / file).write_bytes(original)
