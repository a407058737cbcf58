"""`trunkline verify`: an untouched bundle passes, and each way to touch one is refused in words of its own."""

import hashlib
import json
import os
import shutil
import socket
from contextlib import chdir

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import bundles
from tests.cli.test_cli import HEAVY, trunkline
from trunkline.bundle import manifest
from trunkline.core.errors import UserError


@pytest.fixture
def bundle(tmp_path):
    return bundles.make(tmp_path / "bundle")


def test_the_digest_is_that_of_the_manifest_and_stays_the_same_elsewhere(bundle, tmp_path):
    wanted = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    copied = shutil.copytree(bundle, tmp_path / "else/where")
    os.utime(copied / "model.onnx", (0, 0))
    assert manifest.verify(bundle) == manifest.digest(bundle) == manifest.verify(copied) == wanted


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = bundles.make(tmp_path_factory.mktemp("whole") / "bundle")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(data=st.data())
def test_any_changed_byte_is_found(content, tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(content)))
    position = data.draw(st.integers(0, len(content[name]) - 1))
    changed = bytearray(content[name])
    changed[position] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("changed")
    for other, untouched in content.items():
        (folder / other).write_bytes(changed if other == name else untouched)
    try:
        found = manifest.verify(folder)
    except UserError as error:
        assert name in str(error) or name == "manifest.json"  # noqa: PT017  either outcome is right for a manifest
    else:
        assert name == "manifest.json", f"{name} was changed at {position}"
        assert found != hashlib.sha256(content["manifest.json"]).hexdigest()


def listed(path, name, value="0" * 64):
    """List one more file in the manifest, or another hash."""
    said = json.loads((path / "manifest.json").read_text())
    said["files"][name] = value
    (path / "manifest.json").write_text(json.dumps(said))


def swap(path, target):
    shutil.move(path, target)
    path.symlink_to(target)


def listen(path):
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as listening:  # its name must be short
        listening.bind(path.name)


BREACHES = {
    "a changed byte": (lambda b: (b / "model.onnx").write_bytes(b"x"), "/model.onnx: was changed: its sha256"),
    "a missing file": (lambda b: (b / "card.md").unlink(), "/card.md: is missing, but is listed"),
    "an extra file": (lambda b: (b / "run.py").write_text(""), "/run.py: is not listed"),
    "a hidden file": (lambda b: (b / ".x").write_text(""), "/.x: is not listed"),
    "a folder": (lambda b: (b / "more").mkdir(), "/more: is a folder, but a bundle is flat"),
    "a listed folder": (
        lambda b: ((b / "card.md").unlink(), (b / "card.md").mkdir()),
        "/card.md: is a folder, but a bundle is flat",
    ),
    "a link to a file": (lambda b: swap(b / "card.md", b.parent / "card.md"), "/card.md: is a symlink"),
    "a link to a folder": (lambda b: (b / "more").symlink_to(b.parent), "/more: is a symlink"),
    "a link to nowhere": (lambda b: (b / "more").symlink_to("nowhere"), "/more: is a symlink"),
    "a linked manifest": (lambda b: swap(b / "manifest.json", b.parent / "m.json"), "/manifest.json: is a symlink"),
    "a linked bundle": (lambda b: swap(b, b.parent / "other"), "bundle: is a symlink"),
    "a pipe": (lambda b: os.mkfifo(b / "pipe"), "/pipe: is not a regular file"),
    "a pipe as manifest": (
        lambda b: ((b / "manifest.json").unlink(), os.mkfifo(b / "manifest.json")),
        "/manifest.json: is not a regular file",
    ),
    "a socket": (lambda b: listen(b / "socket"), "/socket: is not a regular file"),
    "no JSON": (lambda b: (b / "manifest.json").write_text("{"), "is not a manifest: Input data was truncated"),
    "no Unicode": (lambda b: (b / "manifest.json").write_bytes(b'{"format": "\xff"}'), "is not a manifest"),
    "an unknown key": (lambda b: bundles.seal(b, code="x"), "is not a manifest: Object contains unknown field `code`"),
    "an unknown runtime": (lambda b: bundles.seal(b, runtime="pickle"), "Invalid enum value 'pickle'"),
    "a later format": (lambda b: bundles.seal(b, format=2, new={}), "is of format 2, not 1; install the version"),
    "a way out": (lambda b: listed(b, "../x"), "files: '../x' is not a plain file name of this folder"),
    "a root": (lambda b: listed(b, "/etc/passwd"), "files: '/etc/passwd' is not a plain file name"),
    "a sub-folder": (lambda b: listed(b, "a/b"), "files: 'a/b' is not a plain file name"),
    "a way out elsewhere": (lambda b: listed(b, "..\\x"), "is not a plain file name of this folder"),
    "the folder": (lambda b: listed(b, "."), "files: '.' is not a plain file name"),
    "no name": (lambda b: listed(b, ""), "files: '' is not a plain file name"),
    "a line end": (lambda b: listed(b, "x\n"), "files: 'x\\n' is not a plain file name"),
    "itself": (lambda b: listed(b, "manifest.json"), "files: 'manifest.json' is not a plain file name"),
    "no hash": (lambda b: listed(b, "card.md", "A" * 64), "files.card.md: is not a sha256"),
    "no model": (lambda b: bundles.seal(b, runtime="sklearn"), "files: lists no model.skops"),
    "no contract": (lambda b: ((b / "contract.json").unlink(), bundles.seal(b)), "files: lists no contract.json"),
}


@pytest.mark.parametrize(("breach", "said"), BREACHES.values(), ids=BREACHES)
def test_a_bundle_that_was_touched_is_refused_in_words_of_its_own(bundle, breach, said):
    breach(bundle)
    with pytest.raises(manifest.BundleError) as caught:
        manifest.verify(bundle)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_link_put_in_place_of_a_file_after_the_listing_is_not_followed(bundle, monkeypatch):
    listing = manifest._same_names

    def then_swap(*arguments):
        listing(*arguments)
        swap(bundle / "card.md", bundle.parent / "card.md")

    monkeypatch.setattr(manifest, "_same_names", then_swap)
    with pytest.raises(manifest.BundleError, match=r"card\.md: is a symlink"):
        manifest.verify(bundle)


def test_the_command_says_what_was_verified_and_imports_nothing_heavy(bundle, tmp_path):
    told = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = trunkline("verify", "bundle", cwd=tmp_path, before=told)
    digest = manifest.digest(bundle)
    assert done.stdout == (
        f"bundle is what its manifest says\n  digest   {digest}\n  files    3\n  name     sums\n  runtime  onnx\n"
    )
    assert done.returncode == 0
    assert not {module.partition(".")[0] for module in done.stderr.split()} & {*HEAVY, "onnxruntime", "yaml"}


def test_the_answer_as_json(bundle, tmp_path):
    done = trunkline("verify", "bundle", "--json", cwd=tmp_path)
    facts = {"digest": manifest.digest(bundle), "files": 3, "name": "sums", "runtime": "onnx", "verified": True}
    assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", facts)
    (bundle / "card.md").unlink()
    done = trunkline("verify", "bundle", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    answer = json.loads(done.stdout)
    assert (answer["verified"], answer["reason"].partition(";")[0]) == (
        False,
        "bundle/card.md: is missing, but is listed in manifest.json",
    )


def test_the_answer_no_is_1_and_a_path_that_is_no_bundle_is_2(bundle, tmp_path):
    (bundle / "card.md").write_text("# Other\n")
    done = trunkline("verify", "bundle", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("refused: bundle/card.md: was changed")
    for path, said in {
        "bundel": "bundel: is missing; name a bundle's folder",
        "bundle/card.md": "bundle/card.md: is not a folder; name a bundle's folder",
        ".": ".: is not a bundle: it has no manifest.json; name a bundle's folder",
    }.items():
        done = trunkline("verify", path, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {said}\n")


def test_a_link_is_refused_with_a_final_slash_too(bundle, tmp_path):
    (tmp_path / "link").symlink_to(bundle)
    done = trunkline("verify", "link/", cwd=tmp_path)
    assert (done.returncode, done.stdout.partition(",")[0]) == (1, "refused: link: is a symlink")


def test_the_whole_path_may_be_links_as_far_as_the_folder(bundle, tmp_path):
    (tmp_path / "way").symlink_to(tmp_path)
    assert manifest.verify(tmp_path / "way/bundle") == manifest.verify(bundle)
