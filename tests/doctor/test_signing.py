"""Who is declared, and whose key the environment holds."""

from tests.doctor.conftest import found
from tests.releases import private
from trunkline.doctor import signing


def key(project, setting, **more):
    return found(signing.check, project, {"TRUNKLINE_SIGNING_KEY": setting, **more})["signing key"]


def test_a_key_is_told_by_the_name_under_which_it_is_declared(project):
    assert key(project, private()).detail == "TRUNKLINE_SIGNING_KEY is that of release"
    assert key(project, private("record")).detail == "TRUNKLINE_SIGNING_KEY is that of record"
    stranger = key(project, private("eve"))
    assert (stranger.state, "does not declare" in stranger.detail) == ("fails", True)


def test_a_key_that_cannot_be_used_fails_and_is_not_shown(project):
    for setting in ("my-secret", private().replace("M", "N")):
        finding = key(project, setting)
        assert (finding.state, "secret" in str(finding), setting in str(finding)) == ("fails", False, False)
    assert "unset TRUNKLINE_SIGNING_PASSWORD" in str(key(project, private(), TRUNKLINE_SIGNING_PASSWORD="x"))


def test_what_nobody_has_declared_or_set_is_not_set_up(project):
    project.params(deploy__signers={}, deploy__recorders={})
    assert {what: one.state for what, one in found(signing.check, project).items()} == {
        "signing": "works",
        "signers": "not set up",
        "recorders": "not set up",
        "signing key": "not set up",
    }


def test_without_the_extra_a_key_is_of_no_use(project, monkeypatch):
    monkeypatch.setattr("trunkline.release.signing.find_spec", lambda name: None)
    assert found(signing.check, project)["signing"].state == "not set up"
    assert "trunkline[sign]" in found(signing.check, project, {"TRUNKLINE_SIGNING_KEY": "x"})["signing"].advice
