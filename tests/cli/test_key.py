"""`trunkline key`: what a dry run says, and that it changes nothing."""

import subprocess

from tests.serving import TRUNKLINE
from trunkline.serve.auth.keys import entries


def key(*arguments, cwd, code=0):
    command = [TRUNKLINE, "key", *arguments, "--file", "keys.json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path):
    path = tmp_path / "keys.json"
    done = key("add", "dashboard", "--scope", "explain", "--dry-run", cwd=tmp_path)
    assert (done.stdout, path.exists()) == ("", False)
    assert done.stderr == "keys.json: holds 0 keys, and would hold one of dashboard, for explain\n"
    secret = key("add", "dashboard", "--scope", "explain", "--scope", "predict", cwd=tmp_path).stdout
    [entry] = entries(path)
    assert (entry.id, entry.scopes) == (secret.partition(".")[0], ["explain", "predict"])
    content = path.read_bytes()
    done = key("revoke", entry.id, "--dry-run", cwd=tmp_path)
    assert done.stderr == f"keys.json: would hold the key {entry.id} of dashboard no more\n"
    assert "has no key 0000" in key("revoke", "0000", "--dry-run", cwd=tmp_path, code=2).stderr
    key("add", "other", "--dry-run", cwd=tmp_path)
    assert path.read_bytes() == content
