"""A signature is believed only if it is one, fits, and is by somebody who is declared; no message holds a secret.

golden/sigstore.json is a bundle that Sigstore's public instance really made: GitHub's provenance of pypi-attestations
0.0.19, a file of that package's own tests (version 0.0.30, Apache-2.0), in the form of a Sigstore bundle.
"""

import base64
import hashlib
import json
import logging
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import sigstores
from trunkline.conf.signers import Key, Keyless
from trunkline.core.errors import OutsideError, UserError
from trunkline.release import signing
from trunkline.release.signing import SignatureError, Signed

PAYLOAD = '{"_type":"https://in-toto.io/Statement/v1","é":1}'.encode()
KINDS = {"ed25519": ["-algorithm", "ed25519"], "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]}
RECORDED = (Path(__file__).parents[1] / "golden/sigstore.json").read_text(encoding="utf-8")
WORKFLOW = Keyless(
    identity="https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@refs/tags/v0.0.19",
    issuer="https://token.actions.githubusercontent.com",
)


def openssl(*words: str, given: str | None = None) -> str:
    return subprocess.run(["openssl", *words], input=given, capture_output=True, text=True, check=True).stdout


def made(*kind: str) -> str:
    return openssl("genpkey", *kind)


def public(private: str) -> str:
    return openssl("pkey", "-pubout", given=private)


KEYS = {kind: made(*words) for kind, words in KINDS.items()}
SIGNERS = {kind: Key(key=public(private)) for kind, private in KEYS.items()}
SIGNED = {kind: signing.sign(PAYLOAD, {signing.KEY: private}) for kind, private in KEYS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_who_signed_what_is_told(kind):
    assert signing.verify(SIGNED[kind], SIGNERS | {"workflow": WORKFLOW}) == Signed(kind, PAYLOAD)


def test_a_key_from_a_file_signs_the_same(tmp_path):
    (tmp_path / "release.pem").write_text(KEYS["ed25519"], encoding="utf-8")
    assert signing.sign(PAYLOAD, {signing.KEY: str(tmp_path / "release.pem")}) == SIGNED["ed25519"]


def test_an_encrypted_key_wants_its_password(tmp_path):
    locked = openssl("pkey", "-aes256", "-passout", "pass:open sesame", given=KEYS["ed25519"])
    assert signing.sign(PAYLOAD, {signing.KEY: locked, signing.PASSWORD: "open sesame"}) == SIGNED["ed25519"]
    for environ, told in (
        ({signing.KEY: locked}, "is encrypted; set TRUNKLINE_SIGNING_PASSWORD"),
        ({signing.KEY: locked, signing.PASSWORD: "s3cret"}, "or TRUNKLINE_SIGNING_PASSWORD is not its password"),
        ({signing.KEY: KEYS["p256"], signing.PASSWORD: "s3cret"}, "is not encrypted; unset"),
    ):
        with pytest.raises(UserError, match=told) as refused:
            signing.sign(PAYLOAD, environ)
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_verifies_what_was_signed(kind, tmp_path):
    """The same envelope, taken apart by hand as DSSE describes it, and verified by another implementation."""
    envelope = json.loads(SIGNED[kind])
    [signature] = envelope["signatures"]
    payload = base64.b64decode(envelope["payload"])
    name = envelope["payloadType"]
    (tmp_path / "pae").write_bytes(b"DSSEv1 %d %s %d %s" % (len(name), name.encode(), len(payload), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(signature["sig"]))
    (tmp_path / "pub").write_text(SIGNERS[kind].key, encoding="utf-8")
    digest = [] if kind == "ed25519" else ["-digest", "sha256"]
    words = ["-rawin", *digest, "-in", str(tmp_path / "pae"), "-sigfile", str(tmp_path / "sig")]
    verified = openssl("pkeyutl", "-verify", "-pubin", "-inkey", str(tmp_path / "pub"), *words)
    assert "Signature Verified Successfully" in verified
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", str(tmp_path / "pub"), "-outform", "DER"], capture_output=True, check=True
    )
    assert signature["keyid"] == hashlib.sha256(der.stdout).hexdigest()


def test_what_openssl_signed_is_verified(tmp_path):
    (tmp_path / "pem").write_text(KEYS["p256"], encoding="utf-8")
    (tmp_path / "pae").write_bytes(b"DSSEv1 %d %s 2 {}" % (len(signing.TYPE), signing.TYPE.encode()))
    words = ["-rawin", "-digest", "sha256", "-in", str(tmp_path / "pae"), "-out", str(tmp_path / "sig")]
    openssl("pkeyutl", "-sign", "-inkey", str(tmp_path / "pem"), *words)
    envelope = json.loads(SIGNED["p256"])
    envelope["payload"] = base64.b64encode(b"{}").decode()
    envelope["signatures"][0]["sig"] = base64.b64encode((tmp_path / "sig").read_bytes()).decode()
    assert signing.verify(json.dumps(envelope, separators=(",", ":")), SIGNERS) == Signed("p256", b"{}")


# What is refused


def refused(signed: str, signers=SIGNERS) -> str:
    with pytest.raises(SignatureError) as error:
        signing.verify(signed, signers)
    assert "\n" not in str(error.value)
    return str(error.value)


def edited(edit, kind: str = "ed25519") -> str:
    envelope = json.loads(SIGNED[kind])
    edit(envelope)
    return json.dumps(envelope, separators=(",", ":"))


def other_payload(envelope):
    envelope["payload"] = base64.b64encode(PAYLOAD.replace(b"1", b"2")).decode()


def other_signature(envelope):
    [signature] = envelope["signatures"]
    signature["sig"] = base64.b64encode(bytes(64)).decode()


def swapped(envelope):
    envelope["signatures"][0]["keyid"] = json.loads(SIGNED["p256"])["signatures"][0]["keyid"]


@pytest.mark.parametrize(
    ("signed", "told"),
    [
        (edited(other_payload), "the signature does not fit: it, or what was signed, has been changed"),
        (edited(other_signature), "the signature does not fit"),
        (edited(swapped), "the signature does not fit"),
        (edited(lambda it: it.update(payloadType="text/plain")), "is of another type than application/vnd."),
        (edited(lambda it: it["signatures"].append(it["signatures"][0])), "the envelope has 2 signatures"),
        (edited(lambda it: it["signatures"].clear()), "the envelope has 0 signatures"),
        (edited(lambda it: it.update(extra=1)), "the signature is unreadable"),
        (edited(lambda it: it["signatures"][0].pop("keyid")), "the signature is unreadable"),
        (edited(lambda it: it["signatures"][0].update(keyid="\n")), "signed by the key \\n, which conf/deploy does"),
        (SIGNED["p256"] + " ", "the signature is unreadable"),
        (SIGNED["p256"].replace('{"payload"', '{"payload":"","payload"'), "the signature is unreadable"),
        ("", "the signature is unreadable"),
        ("[" * 100_000, "the signature is unreadable"),
        ("\ud800", "the signature is unreadable"),
        ("9" * 5000, "the signature is unreadable"),
        ("x" * 1_000_001, "more than 1,000,000 characters"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_envelope_is_told(signed, told):
    assert told in refused(signed)


def test_a_key_that_is_no_longer_declared_is_told_by_its_id():
    told = refused(SIGNED["ed25519"], {"p256": SIGNERS["p256"], "workflow": WORKFLOW})
    keyid = json.loads(SIGNED["ed25519"])["signatures"][0]["keyid"]
    assert f"signed by the key {keyid}, which conf/deploy does not declare, or no longer does" in told
    assert told.endswith("declared signers: p256, workflow")
    assert refused(SIGNED["ed25519"], {}).endswith("declared signers: none")


@settings(max_examples=300)
@given(st.sampled_from(list(KINDS)), st.data())
def test_no_other_byte_is_believed(kind, data):
    signed = SIGNED[kind]
    place = data.draw(st.integers(0, len(signed) - 1))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda other: other != signed[place]) | st.just(""))
    refused(signed[:place] + other + signed[place + 1 :])


NAMES = st.sampled_from(["payload", "payloadType", "signatures", "keyid", "sig", "mediaType", "dsseEnvelope"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)))
@example({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": {"signatures": [1]}})
def test_other_json_is_refused(content):
    refused(json.dumps(content, sort_keys=True, separators=(",", ":")))


# Keys that cannot be used, and no key


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("s3cret", "is neither a private key in PEM nor a file that can be read"),
        ("s3cret\0", "is neither a private key"),
        ("s3cret" * 1000, "is neither a private key"),
        ("~s3cret/key", "is neither a private key"),
        ("-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----", "is no private key in PEM"),
        (made("-algorithm", "RSA"), "is a key of another kind than Ed25519 and ECDSA P-256"),
        (made("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"), "is a key of another kind"),
        (public(KEYS["p256"]), "is no private key in PEM"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_and_not_shown(setting, told):
    with pytest.raises(UserError, match=told) as error:
        signing.sign(PAYLOAD, {signing.KEY: setting})
    assert "s3cret" not in str(error.value)
    assert not {line for line in setting.splitlines() if "-----" not in line} & set(str(error.value).splitlines())


def test_without_a_key_the_commands_that_make_one_are_told_and_work(tmp_path):
    with pytest.raises(UserError) as error:
        signing.sign(PAYLOAD, {})
    commands = [line.strip() for line in str(error.value).splitlines() if line.startswith("  ")]
    printed = [
        subprocess.run(words.split(), cwd=tmp_path, capture_output=True, text=True, check=True) for words in commands
    ]
    signed = signing.sign(PAYLOAD, {signing.KEY: str(tmp_path / "release.pem")})
    assert signing.verify(signed, {"release": Key(key=printed[-1].stdout)}).signer == "release"


def test_nothing_is_logged_of_a_key(caplog):
    with caplog.at_level(logging.DEBUG):
        signing.verify(signing.sign(PAYLOAD, {signing.KEY: KEYS["p256"]}), SIGNERS)
    assert not any(line in caplog.text for line in KEYS["p256"].splitlines()[1:-1])


def test_what_is_heavy_is_imported_only_to_sign():
    code = "import sys; from trunkline.release import signing; print(*sys.modules, sep='\\n')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert not {"cryptography", "securesystemslib", "sigstore"} & set(found)


def test_a_missing_library_is_told_with_its_extra(monkeypatch):
    monkeypatch.setattr(signing, "find_spec", lambda name: None if name == "sigstore" else object())
    for call in (lambda: signing.sign(PAYLOAD, {}), lambda: signing.verify(RECORDED, {"main": WORKFLOW})):
        with pytest.raises(UserError, match=r"sigstore is not installed; run: pip install 'trunkline\[sign\]'"):
            call()


# What may be declared


def test_a_key_is_declared_in_one_way():
    text = SIGNERS["p256"].key
    unwrapped = "\n".join([text.splitlines()[0], "".join(text.splitlines()[1:-1]), text.splitlines()[-1]])
    assert Key(key=unwrapped) == SIGNERS["p256"]


def test_a_point_that_is_on_no_curve_is_told_when_it_is_needed():
    der = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + bytes(64)
    key = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----"
    with pytest.raises(UserError, match=r"conf/deploy: signers\.ci\.key: is no point of its curve"):
        signing.verify(SIGNED["p256"], {"ci": Key(key=key)})


@pytest.mark.parametrize(
    "text",
    [
        KEYS["ed25519"],
        public(made("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")),
        public(made("-algorithm", "RSA")),
        SIGNERS["p256"].key.replace("-----END", "extra\n-----END"),
        SIGNERS["p256"].key * 2,
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        "",
    ],
    ids=["private", "P-384", "RSA", "extra", "twice", "short", "empty"],
)  # fmt: skip
def test_what_is_no_public_key_of_these_kinds_cannot_be_declared(text):
    with pytest.raises(ValueError, match="is a private key" if "PRIVATE" in text else "is no public key"):
        Key(key=text)


# Keyless: verified offline, against the root that came with the library


def test_a_recorded_signature_of_a_workflow_is_verified():
    found = signing.verify(
        RECORDED, SIGNERS | {"other": WORKFLOW.model_copy(update={"identity": "x"}), "main": WORKFLOW}
    )
    assert found.signer == "main"
    assert json.loads(found.payload)["predicateType"] == "https://slsa.dev/provenance/v1"


@pytest.mark.parametrize("change", [{"identity": f"{WORKFLOW.identity}0"}, {"issuer": "https://gitlab.com"}])
def test_the_signature_of_another_workflow_is_refused(change):
    told = refused(RECORDED, SIGNERS | {"main": WORKFLOW.model_copy(update=change)})
    assert f"signed by {WORKFLOW.identity}, which conf/deploy does not declare" in told


def recorded(edit) -> str:
    bundle = json.loads(RECORDED)
    edit(bundle)
    return json.dumps(bundle, sort_keys=True, separators=(",", ":"))


def resigned(bundle):
    """Put in another payload, signed by another key."""
    payload = b'{"_type":"https://in-toto.io/Statement/v1"}'
    pae = b"DSSEv1 %d %s %d %s" % (len(signing.TYPE), signing.TYPE.encode(), len(payload), payload)
    key = serialization.load_pem_private_key(KEYS["p256"].encode(), None)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(key.sign(pae, ec.ECDSA(hashes.SHA256()))).decode()


def entry(bundle):
    return bundle["verificationMaterial"]["tlogEntries"][0]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda it: it["dsseEnvelope"].update(payload=base64.b64encode(b"{}").decode()), "does not fit"),
        (resigned, "does not fit"),
        (lambda it: entry(it).update(integratedTime="1"), "does not fit"),
        (lambda it: entry(it)["inclusionPromise"].update(signedEntryTimestamp="AAAA"), "does not fit"),
        (lambda it: entry(it)["inclusionProof"]["hashes"].pop(), "does not fit"),
        (lambda it: it["dsseEnvelope"].update(payloadType="text/plain"), "of another type than"),
        (lambda it: it["dsseEnvelope"]["signatures"].append(it["dsseEnvelope"]["signatures"][0]), "has 2 signatures"),
        (lambda it: it.pop("dsseEnvelope"), "of something else than a statement"),
        (lambda it: it.update(mediaType="application/json"), "unreadable"),
        (lambda it: it["verificationMaterial"]["tlogEntries"].clear(), "unreadable"),
        (lambda it: it["verificationMaterial"]["certificate"].update(rawBytes="AAAA"), "unreadable"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_sigstore_bundle_is_told(edit, told):
    assert told in refused(recorded(edit), {"main": WORKFLOW})


def test_what_was_signed_is_of_the_type_that_was_verified(monkeypatch):
    # Sigstore's library signs statements only, and leaves this to its caller.
    monkeypatch.setattr("sigstore.verify.Verifier.verify_dsse", lambda *_: ("text/plain", b"{}"))
    assert "of another type than" in refused(RECORDED, {"main": WORKFLOW})


def test_a_sigstore_bundle_is_written_in_one_way():
    assert "unreadable" in refused(json.dumps(json.loads(RECORDED)), {"main": WORKFLOW})


@settings(max_examples=150)
@given(st.data())
def test_no_other_byte_of_a_sigstore_bundle_changes_what_was_signed(data):
    """A bundle holds much that nobody signed, such as its own version; what counts is the payload."""
    place = data.draw(st.integers(0, len(RECORDED) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda other: other != RECORDED[place]))
    with suppress(SignatureError):
        found = signing.verify(RECORDED[:place] + other + RECORDED[place + 1 :], {"main": WORKFLOW})
        assert found == signing.verify(RECORDED, {"main": WORKFLOW})


# Keyless: signed by an instance of Sigstore on this machine; the public one has not been asked


STATEMENT = (
    b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"00"}}],"predicateType":"y"}'
)
MAIN = Keyless(identity=sigstores.IDENTITY, issuer=sigstores.ISSUER)


@pytest.fixture
def workflow(monkeypatch):
    """An instance, its address, and the environment of a workflow."""
    instance = sigstores.Sigstore()
    with sigstores.serving(instance) as address:
        environ = {
            signing.TOKEN_ADDRESS: f"{address}/token",
            signing.TOKEN: sigstores.REQUEST_TOKEN,
            "GITHUB_ACTIONS": "true",
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield instance, address, environ


def test_a_workflow_signs_without_a_key(workflow):
    instance, address, environ = workflow
    signed = signing.sign(STATEMENT, environ, instance.trust(address))
    root = instance.trust(address).trusted_root
    assert signing.verify(signed, {"key": SIGNERS["p256"], "main": MAIN}, root) == Signed("main", STATEMENT)
    assert instance.entries == 1
    for signers, trusted, told in (
        ({"main": MAIN.model_copy(update={"identity": "x"})}, root, f"signed by {sigstores.IDENTITY}"),
        (
            {"main": MAIN.model_copy(update={"issuer": "https://gitlab.com"})},
            root,
            f"signed by {sigstores.IDENTITY}, which",
        ),
        ({"main": MAIN}, None, "the signature does not fit"),  # Sigstore's public instance knows nothing of it
        ({"main": MAIN}, sigstores.Sigstore().trust(address).trusted_root, "the signature does not fit"),
    ):
        with pytest.raises(SignatureError, match=re.escape(told)):
            signing.verify(signed, signers, trusted)


def test_a_key_comes_before_a_workflow(workflow):
    instance, _, environ = workflow
    signed = signing.sign(STATEMENT, environ | {signing.KEY: KEYS["p256"]})
    assert signing.verify(signed, SIGNERS).signer == "p256"
    assert instance.entries == 0


@pytest.mark.parametrize("failing", ["/token", "/api/v2/signingCert", "/api/v1/log/entries"])
def test_a_keyless_signature_that_cannot_be_had_is_told_without_secrets(workflow, failing, caplog):
    instance, address, environ = workflow
    instance.failing = failing
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(OutsideError, match="no keyless signature was granted") as error,
    ):
        signing.sign(STATEMENT, environ, instance.trust(address))
    for secret in (sigstores.REQUEST_TOKEN, instance.token()):
        assert secret not in str(error.value) + caplog.text
    assert "\n" not in str(error.value)
