"""The registry file says which version production runs, or is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf import registry
from trunkline.conf.deploy import DeployTarget
from trunkline.conf.registry import Candidate, Declaration
from trunkline.conf.rollout import Rollout
from trunkline.conf.versions import Version
from trunkline.core.errors import UserError


def production(tmp_path, text):
    path = tmp_path / "registry.yaml"
    path.write_text(text, encoding="utf-8")
    return registry.production(path, "flights")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("flights: {staging: latest, production: v12}", 12),
        ("flights: {staging: v3, production: null}", None),
        ("flights: {staging: latest, production: v1}\nother: {staging: latest, production: v9}", 1),
        ("flights: {production: {version: v4, shadow: v5}}", 4),
        ("flights: {production: {version: v4, canary: {version: v5, share: 5}, hold: [v3]}}", 4),
    ],
)
def test_it_names_a_version_or_none(tmp_path, text, number):
    assert production(tmp_path, text) == number


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flights: {staging: latest, production: 3}", "flights.production: must be a version such as v3, or null"),
        ("flights: {staging: latest, production: v0}", "must be a version such as v3"),
        ("flights: {staging: latest, production: latest}", "must be a version such as v3, or null, not 'latest'"),
        ("flights: {staging: latest, production: v03}", "must be a version such as v3"),
        ("flights: {staging: latest}", "flights: lacks production, has staging; write: production: null"),
        ("flights: {staging: newest, production: v1}", "staging: must be a version such as v3, latest or null"),
        (
            "flights: {staging: 3, production: v1}",
            "flights.staging: must be a version such as v3, latest or null, not 3",
        ),
        ("flight: {staging: latest, production: v1}", "has no model flights; did you mean 'flight'?"),
        ("flights: v1", "has no model flights"),
        ("- flights", "must be a mapping of keys"),
        ("", "has no model flights"),
        ("flights: {", "not YAML"),
        ("flights: {staging: latest, production: v1, production: null}", "flights.production: is also in line 1"),
    ],
)
def test_anything_else_is_refused(tmp_path, text, said):
    with pytest.raises(UserError, match=r"registry\.yaml:") as refused:
        production(tmp_path, text)
    assert said in str(refused.value)


def test_a_missing_file_says_what_to_write(tmp_path):
    with pytest.raises(UserError, match=r"write: flights: \{staging: latest, production: null\}"):
        registry.production(tmp_path / "registry.yaml", "flights")


# Every form that an environment has.
numbers = st.integers(1, 6)
shares = st.integers(1, 9999).map(lambda hundredths: hundredths / 100)
candidates = st.builds(Candidate, st.just("shadow"), numbers) | st.builds(Candidate, st.just("canary"), numbers, shares)
declarations = st.builds(
    Declaration,
    st.none() | st.just("latest") | numbers,
    st.none() | candidates,
    st.lists(numbers, max_size=3, unique=True).map(tuple),
)


def is_said(one):
    """Whether the file may say it: a candidate has something beside it, and nothing that is held runs."""
    named = [one.version, *([one.candidate.version] if one.candidate else [])]
    return len(set(named)) == len(named) and not {*named} & {*one.held} and not (one.candidate and one.version is None)


@given(declarations)
def test_what_is_written_is_what_was_read_and_anything_else_is_refused(declaration):
    text = f"flights: {{staging: {declaration}, production: null}}"
    if not is_said(declaration):
        with pytest.raises(UserError, match=r"^models/registry\.yaml: flights\.staging\."):
            registry.parse(text, "flights", Path("models/registry.yaml"))
        return
    read = registry.parse(text, "flights", Path("models/registry.yaml")).environments["staging"]
    assert read == declaration
    assert str(read) == str(declaration)
    assert isinstance(read.content, dict) == bool(declaration.candidate or declaration.held)


def test_what_is_written_reads_as_a_person_writes_it():
    assert str(Declaration(4)) == "v4"
    assert str(Declaration(None)) == "null"
    assert str(Declaration("latest", None, (3, 2))) == "{version: latest, hold: [v3, v2]}"
    assert str(Declaration(4, Candidate("shadow", 5))) == "{version: v4, shadow: v5}"
    canary = Candidate("canary", 5, 5.0)
    assert str(Declaration(4, canary, (3,))) == "{version: v4, canary: {version: v5, share: 5}, hold: [v3]}"
    assert str(Declaration(4, Candidate("canary", 5, 0.25))) == "{version: v4, canary: {version: v5, share: 0.25}}"


HELD = "v4, which is held: it was taken back here; name another version, or lift the hold: remove v4 from hold"
REFUSED = {
    "{}": "production: lacks version; write: version: v3",
    "[v3]": "production: must be a version such as v3, or null, not ['v3']",
    "{version: latest}": "production.version: must be a version such as v3, or null, not 'latest'",
    "{version: v4, shadw: v5}": "production.shadw: no such key; did you mean 'shadow'?",
    "{version: v4, shadow: latest}": "production.shadow: must be a version such as v3, not latest",
    "{version: v4, shadow: null}": "production.shadow: must be a version such as v3, not null",
    "{version: v4, shadow: {version: v5, share: 5}}": "must be a version such as v3, not {version: v5, share: 5}",
    "{version: v4, shadow: v5, canary: {version: v6, share: 5}}": "has a shadow and a canary, but one rollout runs",
    "{version: v4, shadow: v4}": "production.version: v4, and the shadow is the same version; name another",
    "{version: null, shadow: v4}": "production.shadow: there is no version to compare it with; write: production: v4",
    "{version: v4, hold: [v4]}": f"production.version: {HELD}",
    "{version: v3, shadow: v4, hold: [v4]}": f"production.shadow: {HELD}",
    "{version: v3, canary: {version: v4, share: 5}, hold: [v4]}": f"production.canary: {HELD}",
    "{version: v4, canary: v5}": "production.canary: must be such as {version: v5, share: 5}, not v5",
    "{version: v4, canary: {version: v5}}": "canary: must be such as {version: v5, share: 5}, not {version: v5}",
    "{version: v4, canary: {version: 5, share: 5}}": "production.canary.version: must be a version such as v3, not 5",
    "{version: v4, hold: v3}": "production.hold: must be a list of versions such as [v3], not v3",
    "{version: v4, hold: [3]}": "production.hold: must be a version such as v3, not 3",
    "{version: v4, hold: [v3, v3]}": "production.hold: names v3 more than once; remove one of them",
}


@pytest.mark.parametrize(("written", "said"), REFUSED.items(), ids=REFUSED)
def test_a_rollout_that_cannot_be_is_refused(written, said):
    with pytest.raises(UserError, match=r"^models/registry\.yaml: flights\.production") as refused:
        registry.parse(f"flights: {{production: {written}}}", "flights", Path("models/registry.yaml"))
    assert said in str(refused.value)


@pytest.mark.parametrize("share", ["0", "100", "-1", "0.001", "5.125", "true", "'5'", "null", ".nan", ".inf"])
def test_a_share_is_percent_with_two_decimals(share):
    text = f"flights: {{production: {{version: v4, canary: {{version: v5, share: {share}}}}}}}"
    said = r"production\.canary\.share: must be percent, more than 0 and less than 100, with two decimals at most, not "
    with pytest.raises(UserError, match=said):
        registry.parse(text, "flights", Path("models/registry.yaml"))


TARGETS = {"staging": DeployTarget(), "production": DeployTarget(), "shadow": DeployTarget()}
STEPPED = DeployTarget(rollout=Rollout(key=("origin",)))
RELEASED = [Version("flights", 2), Version("other", 9), Version("flights", 10)]


def resolved(text, released=RELEASED, **targets):
    read = registry.parse(text, "flights", Path("models/registry.yaml"))
    read.check(TARGETS | targets)
    arms = read.resolve(released)
    assert not any(each.candidate for each in arms.values()) or targets
    return {name: each.current and each.current.label for name, each in arms.items()}


def test_latest_is_the_highest_number_and_none_stays_none():
    text = "flights: {staging: latest, production: v2, shadow: null}"
    assert resolved(text) == {"staging": "v10", "production": "v2", "shadow": None}
    assert resolved(text.replace("v2", "null"), []) == {"staging": None, "production": None, "shadow": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "flights: {staging: latest, production: v3, shadow: null}",
            "production: v3 was never released (the newest is v10",
        ),
        ("flights: {staging: latest, production: v9, shadow: null}", "v9 was never released"),
        ("flights: {staging: latest, production: v2}", "flights: lacks shadow; write: shadow: null"),
        (
            "flights: {stagging: latest, production: v2}",
            "stagging: no such environment in conf/deploy; did you mean 'stag",
        ),
    ],
)
def test_an_unknown_version_or_environment_is_refused(text, said):
    with pytest.raises(UserError) as refused:
        resolved(text)
    assert said in str(refused.value)
    assert str(refused.value).startswith("models/registry.yaml: flights")


def test_the_candidate_is_resolved_too_where_conf_deploy_has_steps():
    text = "flights: {staging: latest, production: {version: v2, shadow: v10}, shadow: null}"
    read = registry.parse(text, "flights", Path("models/registry.yaml"))
    assert read.resolve(RELEASED)["production"] == registry.Arms(Version("flights", 2), Version("flights", 10))
    assert resolved(text, production=STEPPED)["production"] == "v2"
    said = (
        r"flights\.production\.shadow: conf/deploy declares no rollout of production; declare one there, or remove shad"
    )
    with pytest.raises(UserError, match=said):
        resolved(text)


LATEST = {
    "{version: latest, hold: [v10]}": "staging.version: latest is v10, which is held: it was taken back here; name",
    "{version: latest, shadow: v10}": "staging.version: latest is v10, and the shadow is the same version; name",
    "{version: v2, shadow: v11}": "staging: v11 was never released (the newest is v10); name a version that has a tag",
    "{version: v2, hold: [v11]}": "staging: v11 was never released",
}


@pytest.mark.parametrize(("written", "said"), LATEST.items(), ids=LATEST)
def test_what_latest_stands_for_is_refused_as_if_it_were_named(written, said):
    with pytest.raises(UserError) as refused:
        resolved(f"flights: {{staging: {written}, production: v2, shadow: null}}", staging=STEPPED)
    assert said in str(refused.value)


def test_the_projects_own_names_its_model(root: Path):
    registry.production(root / "models/registry.yaml", "flight-delay")
