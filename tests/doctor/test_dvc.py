"""DVC's remote and cache, with a folder as the remote: there, missing, unreadable, and none."""

import shutil

import pytest

from tests.doctor.conftest import found
from trunkline.adapters.dvc.private import Repo
from trunkline.doctor import dvc

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


def configure(project, url):
    project.write(".dvc/config", f"[core]\nremote = store\n['remote \"store\"']\nurl = {url}\n")


def test_a_remote_that_can_be_read_works_and_the_cache_is_counted(project):
    findings = found(dvc.check, project)
    assert {what: one.state for what, one in findings.items()} == {
        "DVC": "works",
        "remote": "works",
        "cache": "not set up",
    }
    assert findings["cache"].detail == "has 0 of the 4 outputs that dvc.lock names"
    with Repo(str(project.root)) as repo:
        repo.fetch(targets=["models/bundle"])
    assert found(dvc.check, project)["cache"].detail == "has 1 of the 4 outputs that dvc.lock names"


def test_a_folder_of_which_a_file_is_lost_is_not_in_the_cache(project):
    with Repo(str(project.root)) as repo:
        repo.fetch(targets=["models/bundle"])
    objects = sorted((project.root / ".dvc/cache/files/md5").glob("??/*"))
    next(path for path in objects if path.suffix != ".dir").unlink()
    assert found(dvc.check, project)["cache"].detail.startswith("has 0 of")


def test_a_remote_that_is_not_there_or_cannot_be_read_fails(project, tmp_path):
    (tmp_path / "file").touch()
    for url in (tmp_path / "nothing", tmp_path / "file/within"):
        configure(project, url)
        remote = found(dvc.check, project)["remote"]
        assert remote.state == "fails"
        assert remote.detail.startswith(f"store at {url} cannot be read: ")
        assert "dvc remote modify" in remote.advice


def test_no_secret_of_a_remote_is_shown(project, tmp_path):
    for url in ("https://ada:hunter2@127.0.0.1:9/store", f"{tmp_path}/nothing?sig=hunter2"):
        configure(project, url)
        remote = found(dvc.check, project)["remote"]
        assert (remote.state, "hunter2" in str(remote)) == ("fails", False)


@pytest.mark.parametrize(
    ("settings", "state", "said"),
    [
        ("", "not set up", "the bucket's default decides"),
        ("sse = AES256", "works", "written with AES256"),
        ("sse = aws:kms\nsse_kms_key_id = alias/data", "works", "written with aws:kms, key alias/data"),
        ("sse = AES256\nsse_kms_key_id = alias/data", "fails", "AES256 beside sse_kms_key_id, which S3 refuses"),
        ("sse = AES265", "fails", "sse is AES265, which S3 refuses"),
        ("sse_customer_key = aHVudGVyMg==", "fails", "holds sse_customer_key itself"),
    ],
)
def test_how_a_remote_in_s3_is_encrypted_is_told_and_a_key_in_git_fails(project, monkeypatch, settings, state, said):
    monkeypatch.setattr("trunkline.adapters.dvc.project.unreadable", lambda repo: None)
    configure(project, f"s3://bucket/store\n{settings}")
    encryption = found(dvc.check, project)["encryption"]
    assert (encryption.state, said in encryption.detail) == (state, True)
    assert "aHVudGVyMg" not in str(encryption)


def test_no_remote_is_none_that_is_set_up(project):
    project.write(".dvc/config", "")
    findings = found(dvc.check, project)
    assert findings["remote"].state == "not set up"
    assert findings["cache"].advice == "run: dvc repro, which brings or makes the rest"


def test_a_project_that_dvc_does_not_open_is_told_with_dvcs_reason(project):
    project.write(".dvc/config", "[core\n")
    assert found(dvc.check, project)["DVC"].state == "fails"
    shutil.rmtree(project.root / ".dvc")
    assert "there is no .dvc" in found(dvc.check, project)["DVC"].detail
