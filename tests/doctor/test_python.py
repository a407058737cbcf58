"""Python, its packages and the processor."""

from importlib.metadata import version

import pytest

from tests.doctor.conftest import found
from trunkline.doctor import python
from trunkline.doctor.findings import Setup

HASH = " \\\n    --hash=sha256:00\n"


def packages(folder, lock):
    path = folder / "locks/pipeline.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(lock, encoding="utf-8")
    return {one.what: one for one in python.check(Setup(folder, "main", {}))}["packages"]


def test_the_lock_of_this_project_is_what_is_installed(root):
    findings = {one.what: one for one in python.check(Setup(root, "main", {}))}
    assert {what: one.state for what, one in findings.items()} | {"processor": "-"} == {
        "Python": "works",
        "processor": "-",
        "packages": "works",
    }


def test_what_differs_is_named_and_the_rest_is_counted(tmp_path):
    numpy = version("numpy")
    lock = HASH.join(
        [f"numpy=={numpy}", "click==0.1", "no-such-one==1.0", "no-such-two==2.0", "no-such-three==3.0", ""]
    )
    finding = packages(tmp_path, lock)
    assert finding.state == "fails"
    assert finding.detail == (
        f"4 of 5 are not as locks/pipeline.txt says: click is {version('click')}, not 0.1, "
        "no-such-one is not installed, no-such-two is not installed, and 1 more"
    )


def test_a_project_of_another_framework_is_told(tmp_path):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/trunkline.txt").write_text("trunkline==0.0.1\n", encoding="utf-8")
    finding = packages(tmp_path, "")
    assert (finding.state, finding.advice.split(",")[0]) == ("fails", "run: locks/install ci")
    assert f"trunkline is {version('trunkline')}, not 0.0.1" in finding.detail


def test_what_the_lock_has_for_other_machines_is_not_missed(tmp_path):
    lock = f"numpy=={version('numpy')}{HASH}no-such-one==1.0 ; sys_platform == 'none'{HASH}"
    assert packages(tmp_path, lock).detail == "all 1 are as locks/pipeline.txt says"


@pytest.mark.parametrize(("supported", "state"), [(">=3.11", "works"), (">=3.99", "fails"), ("<3.11", "fails")])
def test_python_is_judged_by_what_the_installed_package_declares(tmp_path, monkeypatch, supported, state):
    monkeypatch.setattr(python, "metadata", lambda name: {"Requires-Python": supported})
    assert next(iter(python.check(Setup(tmp_path, "main", {})))).state == state


def test_a_processor_without_the_pinned_kernels_is_told():
    assert python._processor(frozenset({"avx2", "fma", "sse"})).state == "works"
    assert python._processor(frozenset({"avx2"})).state == "not known"


def test_a_folder_without_a_lock_has_none_to_compare_with(project):
    (project.root / "locks/pipeline.txt").unlink()
    assert found(python.check, project)["packages"].state == "not set up"
