"""What DVC is told to keep: the same content and the same bytes as without, parsed once."""

import io
from collections import OrderedDict
from pathlib import Path

import pytest
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml, load_yaml, modify_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.adapters.dvc.parses import kept_parses

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
LISTS = st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
MAPS = st.dictionaries(st.text(), LISTS, max_size=2)
ENTRIES = st.dictionaries(st.text(max_size=8), SCALARS | LISTS | MAPS, max_size=3)
STAGES = st.dictionaries(st.text("abcé-_", min_size=1, max_size=5), ENTRIES, max_size=3)
LOCKS = st.fixed_dictionaries({"schema": st.just("2.0"), "stages": STAGES})


@pytest.fixture
def lock(root: Path, tmp_path: Path) -> Path:
    path = tmp_path / "dvc.lock"
    path.write_bytes((root / "dvc.lock").read_bytes())
    return path


@settings(max_examples=40)
@given(data=LOCKS)
def test_what_is_written_has_the_bytes_of_dvc(data: dict) -> None:
    wanted, given = io.StringIO(), io.StringIO()
    _yaml._dump(data, wanted)
    with kept_parses():
        _yaml._dump(data, given)
    assert given.getvalue() == wanted.getvalue()


def test_a_stage_is_written_into_the_lock_as_dvc_writes_it(lock: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "dvc.lock"
    other.parent.mkdir()
    other.write_bytes(lock.read_bytes())

    def edit(path: Path, number: int) -> None:
        with modify_yaml(str(path)) as data:
            data["stages"]["train"] = OrderedDict(cmd=f"python {number}.py", outs=[{"path": "é", "size": number}])

    with kept_parses():
        for number in range(3):
            edit(lock, number)
    edit(other, 2)
    assert lock.read_bytes() == other.read_bytes()


def test_a_text_is_parsed_once_and_nobody_changes_what_another_reads(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed, parse = [], _yaml.parse_yaml

    def counted(text: str, path: str, typ: str = "safe") -> object:
        parsed.append(path)
        return parse(text, path, typ)

    monkeypatch.setattr(_yaml, "parse_yaml", counted)
    with kept_parses():
        first = load_yaml(str(lock))
        first["stages"].clear()
        second, _ = strictyaml.load(str(lock))
        with modify_yaml(str(lock)) as third:
            assert len(second["stages"]) == len(third["stages"]) == 12
            del third["stages"]["track"]
        assert {*second["stages"]} - {*load_yaml(str(lock))["stages"]} == {"track"}
    assert parsed == [str(lock)]
    assert _yaml.parse_yaml is counted


def test_comments_of_other_files_stay(tmp_path: Path) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("# The pipeline.\nstages:\n  a: {cmd: 'true'} # says so\n")
    with kept_parses(), modify_yaml(str(path)) as data:
        data["stages"]["b"] = {"cmd": "false"}
    assert path.read_text().startswith("# The pipeline.\nstages:\n  a: {cmd: 'true'} # says so\n  b:\n")


def test_what_is_no_yaml_is_refused_each_time_with_its_file(tmp_path: Path) -> None:
    for name in ("dvc.lock", "params.yaml", "dvc.lock"):
        (tmp_path / name).write_text("a: [1")
        with kept_parses(), pytest.raises(_yaml.YAMLFileCorruptedError) as refused:
            load_yaml(str(tmp_path / name))
        assert Path(refused.value.path).name == name
