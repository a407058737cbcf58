"""Keys: what the file holds, and that it is followed."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from trunkline.core.errors import UserError
from trunkline.serve.auth.keys import KeyFile, edit, format_keys, new_key, parse
from trunkline.serve.problems import ProblemError

ENTRY = f'{{"id": "a", "name": "b", "scopes": [], "sha256": "{"0" * 64}"}}'


def test_of_changes_at_the_same_moment_none_is_lost(tmp_path):
    path = tmp_path / "keys.json"
    entries = [new_key(f"client {number}", ["predict"])[0] for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda entry: edit(path, lambda present: [*present, entry]), entries))
        assert {entry.id for entry in parse(path.read_bytes(), path)} == {entry.id for entry in entries}
        list(pool.map(lambda entry: edit(path, lambda present: [e for e in present if e.id != entry.id]), entries[1:]))
    assert parse(path.read_bytes(), path) == entries[:1]


def test_a_key_is_known_by_its_hash_alone_and_only_whole(tmp_path):
    path = tmp_path / "keys.json"
    entry, key = new_key("dashboard", ["predict", "admin"])
    path.write_text(format_keys([entry]), encoding="utf-8")
    assert key.partition(".")[2] not in path.read_text(encoding="utf-8")
    keys = KeyFile(path)
    principal = keys.principal(key)
    assert principal is not None
    assert (principal.name, principal.scopes) == ("key:dashboard", {"predict", "admin"})
    other = new_key("dashboard", ["predict"])[1]
    for wrong in ("", ".", key[:-1], key + "x", other, entry.id, f"{entry.id}.{entry.sha256}", "é" + key):
        assert keys.principal(wrong) is None


def test_the_file_is_followed_and_nothing_counts_while_it_cannot_be_read(tmp_path):
    path = tmp_path / "keys.json"
    (old, old_key), (new, new_key_) = new_key("a", ["predict"]), new_key("a", ["predict"])
    path.write_text(format_keys([old]), encoding="utf-8")
    keys = KeyFile(path)
    path.write_text(format_keys([old, new]), encoding="utf-8")
    assert keys.principal(old_key) == keys.principal(new_key_)
    path.write_text(format_keys([new]), encoding="utf-8")
    assert keys.principal(old_key) is None
    assert keys.principal(new_key_)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ProblemError, match="cannot read its keys"):
        keys.principal(new_key_)
    path.write_text(format_keys([new]), encoding="utf-8")
    assert keys.principal(new_key_)
    path.unlink()
    with pytest.raises(ProblemError, match="cannot read its keys"):
        keys.principal(new_key_)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a file of keys"),
        ('{"keys": [{"id": "a", "name": "b", "scopes": ["root"], "sha256": ""}]}', r"'root' - at .*scopes"),
        ('{"keys": [{"id": "a", "name": "b", "scopes": [], "sha256": "é"}]}', "regex .*sha256"),
        (f'{{"keys": [{ENTRY}, {ENTRY}]}}', "the id a is there twice"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_keys_is_refused_with_its_name(tmp_path, content, words):
    with pytest.raises(UserError, match=rf"keys.json: .*{words}"):
        parse(content.encode(), tmp_path / "keys.json")
