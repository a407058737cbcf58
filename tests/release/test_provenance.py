"""What a release says of itself is in-toto's and SLSA's form, is read back exactly, and is compared word by word."""

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.conf.versions import Version
from trunkline.core.errors import UserError
from trunkline.core.params import dig
from trunkline.release import message as release_message
from trunkline.release import provenance
from trunkline.release.provenance import Announced, Facts, ReleaseRun, ReviewFacts

COMMIT, OTHER = "c" * 40, "d" * 40
GATES = "reports/gates.json"
DIRECTORY, PLAIN = "0123456789abcdef" * 2 + ".dir", "fedcba9876543210" * 2
FILES = {
    Path("params.yaml"): b"name: flight-delay\nseed: 1\n",
    Path("dvc.lock"): yaml.safe_dump(
        {
            "schema": "2.0",
            "stages": {
                "ingest": {"cmd": "x", "outs": [{"path": "data/raw", "md5": DIRECTORY}]},
                "validate": {"outs": [{"path": "data/valid", "md5": DIRECTORY}, {"path": "a.json", "md5": PLAIN}]},
                "features": {"outs": [{"path": "data/features", "md5": PLAIN}]},
                "track": {"cmd": "y"},
            },
        }
    ).encode(),
    Path("locks/pipeline.txt"): b"numpy==2.4\n",
    Path(GATES): json.dumps({"verdict": "pass", "challenger": "b" * 64, "gates": []}).encode(),
}
V4 = Version("flight-delay", 4)
REVIEW = ReviewFacts(12, "alice", ("bob", "dependabot[bot]"))
RUN = ReleaseRun(
    "https://forge.example/me/it/.github/workflows/main.yml@refs/heads/main",
    "https://forge.example/runs/7",
    REVIEW,
    "https://forge.example/me/it",
)
FACTS = provenance.facts_of(FILES, COMMIT, V4)


def announced(facts: Facts = FACTS, run: ReleaseRun = RUN) -> Announced:
    return Announced(facts.version, facts.digest, facts.hashes[GATES], run.review, '{"payload":"é"}' * 20)


def test_facts_are_those_of_the_files():
    assert (
        Facts(
            version=V4,
            digest="b" * 64,
            commit=COMMIT,
            verdict="pass",
            hashes={path.as_posix(): sha256(content).hexdigest() for path, content in FILES.items()},
            data={"data/raw": DIRECTORY, "data/valid": DIRECTORY, "data/features": PLAIN},
        )
        == FACTS
    )


def test_the_projects_own_files_make_a_version(root):
    found = provenance.facts_of({path: (root / path).read_bytes() for path in provenance.READ}, COMMIT, V4)
    lock = (root / "dvc.lock").read_text(encoding="utf-8")
    assert len(found.data) == 3
    assert all(md5 in lock for md5 in found.data.values())


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        (GATES, None, "reports/gates.json: is not in commit cccccccccc"),
        (GATES, b'{"verdict": "pass"}', "reports/gates.json: is no verdict on a bundle"),
        (GATES, b'{"verdict": "maybe", "challenger": "%s"}' % (b"b" * 64), "is no verdict on a bundle"),
        (GATES, b"\xff", "reports/gates.json: is not what the pipeline writes"),
        (GATES, b"[" * 100_000, "reports/gates.json: is not what the pipeline writes"),
        ("params.yaml", b"name: other", "params.yaml: name: is other in commit cccccccccc, which can be no flight-d"),
        ("params.yaml", b"name: [", "params.yaml: is not what the pipeline writes"),
        ("dvc.lock", b"stages: {}", "dvc.lock: has no MD5 of data/raw; run: dvc repro"),
        ("dvc.lock", b"stages: {a: {outs: [{path: data/raw}]}}", "dvc.lock: is not what DVC writes"),
        ("dvc.lock", b"stages: [1]", "dvc.lock: is not what DVC writes"),
        ("dvc.lock", FILES[Path("dvc.lock")].replace(b".dir", b".tmp"), "dvc.lock: has no MD5 of data/raw"),
    ],
)
def test_a_commit_that_lacks_something_makes_no_version(path, content, reason):
    files = {key: value for key, value in (FILES | {Path(path): content}).items() if value is not None}
    with pytest.raises(UserError) as refused:
        provenance.facts_of(files, COMMIT, V4)
    assert str(refused.value).startswith(reason) or reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("run", [RUN, ReleaseRun(), ReleaseRun(review=ReviewFacts(1, "eve", ()))])
def test_the_statement_is_of_the_published_form(run):
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    content = json.loads(provenance.encode(FACTS, run))
    parsed = json_format.Parse(provenance.encode(FACTS, run), statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    predicate = json_format.ParseDict(content["predicate"], provenance_pb2.Provenance())
    named = {item.name: dict(item.digest) for item in predicate.build_definition.resolved_dependencies}
    assert parsed.predicate_type == "https://slsa.dev/provenance/v1"
    assert [(subject.name, dict(subject.digest)) for subject in parsed.subject] == [
        ("flight-delay", {"sha256": "b" * 64})
    ]
    assert named == {
        "commit": {"gitCommit": COMMIT},
        "data/features": {"md5": PLAIN},
        "data/raw": {"dvcDirMd5": DIRECTORY.removesuffix(".dir")},
        "data/valid": {"dvcDirMd5": DIRECTORY.removesuffix(".dir")},
        **{name: {"sha256": value} for name, value in FACTS.hashes.items()},
    }
    assert predicate.run_details.builder.id == run.builder
    assert ":" in predicate.run_details.builder.id  # SLSA wants a URI
    assert ":" in predicate.build_definition.build_type


def test_the_policy_of_the_docs_asks_for_what_a_workflow_of_github_says():
    """Each condition with a text holds; an engine of Rego has run the whole."""
    github = {
        "GITHUB_REPOSITORY": "org/flights",
        "GITHUB_WORKFLOW_REF": "org/flights/.github/workflows/main.yml@refs/heads/main",
        "GITHUB_RUN_ID": "7",
    }
    statement = provenance.statement(FACTS, provenance.run_of(github))
    build, run = (statement["predicate"][key] for key in ("buildDefinition", "runDetails"))
    scopes = {"input": [statement], "build": [build], "run": [run]}
    scopes |= dict.fromkeys(("source", "verdict"), build["resolvedDependencies"])
    page = (Path(__file__).parents[2] / "docs/release.md").read_text(encoding="utf-8")
    policy = page.split("    allow if {")[1].split("\n    }\n")[0]
    same = re.findall(r'^ +(\w+)\.([\w.]+) == "(.*)"$', policy, re.MULTILINE)
    begins = re.findall(r'^ +startswith\((\w+)\.([\w.]+), "(.*)"\)$', policy, re.MULTILINE)
    assert (len(same), len(begins)) == (7, 1)
    for scope, path, text in same:
        assert text in [dig(each, *path.split(".")) for each in scopes[scope]], path
    for scope, path, text in begins:
        assert any(str(dig(each, *path.split("."))).startswith(text) for each in scopes[scope]), path
    local = json.dumps(provenance.statement(FACTS, ReleaseRun()))  # as versions before have it
    assert "repository" not in local
    assert '"uri"' not in local


def test_who_releases_is_said_by_the_workflow():
    github = {
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "me/it",
        "GITHUB_WORKFLOW_REF": "me/it/.github/workflows/main.yml@refs/heads/main",
        "GITHUB_RUN_ID": "7",
        "GITHUB_RUN_ATTEMPT": "2",
    }
    assert provenance.run_of(github, REVIEW) == ReleaseRun(
        "https://github.example/me/it/.github/workflows/main.yml@refs/heads/main",
        "https://github.example/me/it/actions/runs/7/attempts/2",
        REVIEW,
        "https://github.example/me/it",
    )
    gitlab = {"CI_PROJECT_URL": "https://gitlab.example/me/it", "CI_JOB_URL": "https://gitlab.example/me/it/-/jobs/3"}
    assert provenance.run_of(gitlab) == ReleaseRun(
        "https://gitlab.example/me/it/-/pipelines",
        gitlab["CI_JOB_URL"],
        repository="https://gitlab.example/me/it",
    )
    assert provenance.run_of({}) == ReleaseRun()


HEX, LOGINS = (
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True),
)
REVIEWS = st.builds(ReviewFacts, st.integers(1, 10**9), LOGINS, st.lists(LOGINS, max_size=3).map(tuple))
VERSIONS = st.builds(Version, st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True), st.integers(1, 10**9 - 1))
MD5S = st.text("0123456789abcdef", min_size=32, max_size=32).flatmap(lambda md5: st.sampled_from([md5, f"{md5}.dir"]))
ALL_FACTS = st.builds(
    Facts,
    version=VERSIONS,
    digest=HEX,
    commit=HEX,
    verdict=st.sampled_from(["pass", "fail"]),
    hashes=st.fixed_dictionaries({path.as_posix(): HEX for path in provenance.READ}),
    data=st.fixed_dictionaries({path.as_posix(): MD5S for path in provenance.DATA}),
)
RUNS = st.builds(ReleaseRun, st.text(min_size=1), st.none() | st.text(min_size=1), st.none() | REVIEWS)


@given(ALL_FACTS, RUNS)
def test_a_statement_is_read_back(facts, run):
    assert provenance.decode(provenance.encode(facts, run)) == (facts, run)


@given(st.data())
def test_no_other_bytes_are_a_statement(data):
    written = provenance.encode(FACTS, RUN)
    place = data.draw(st.integers(0, len(written) - 1))
    other = data.draw(st.binary(max_size=3).filter(lambda other: other != written[place : place + 1]))
    changed = written[:place] + other + written[place + 1 :]
    try:
        found = provenance.decode(changed)
    except UserError:
        return
    assert provenance.encode(*found) == changed
    assert found != (FACTS, RUN)


@given(st.binary(max_size=100))
@example(b"[" * 100_000)
@example(b"{}")
@example(b"null")
@example(b'{"predicate": {"buildDefinition": [], "runDetails": []}, "subject": []}')
def test_bytes_that_are_no_statement_are_refused(data):
    with pytest.raises(UserError, match="not a statement as trunkline release writes it"):
        provenance.decode(data)


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content.update(extra=1),
        lambda content: content["subject"].append(content["subject"][0]),
        lambda content: content["predicate"]["buildDefinition"].update(buildType="urn:else"),
        lambda content: content["predicate"]["buildDefinition"]["resolvedDependencies"].reverse(),
        lambda content: content["predicate"]["buildDefinition"]["resolvedDependencies"][0].update(
            digest={"gitCommit": 5}
        ),
        lambda content: content["predicate"]["buildDefinition"]["externalParameters"].update(version="latest"),
        lambda content: content["predicate"]["runDetails"]["byproducts"][0]["annotations"].update(number="12"),
        lambda content: content["predicate"]["runDetails"]["builder"].update(id=None),
    ],
)
def test_a_statement_of_another_form_is_refused(edit):
    content = json.loads(provenance.encode(FACTS, RUN))
    edit(content)
    with pytest.raises(UserError, match="not a statement"):
        provenance.decode((json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode())


ANNOUNCED = st.builds(Announced, VERSIONS, HEX, HEX, st.none() | REVIEWS, st.text())


@given(ANNOUNCED)
def test_a_message_is_read_back(announced):
    text = release_message.message(announced)
    assert release_message.parse_message(text) == announced
    assert release_message.parse_message(text.removesuffix("\n")) == announced
    assert max(map(len, text.splitlines())) <= max(76, *(len(line) for line in text.splitlines()[:7]))


@given(st.data())
def test_a_changed_message_is_refused_or_announces_something_else(data):
    text = release_message.message(announced())
    place = data.draw(st.integers(0, len(text) - 2))
    other = data.draw(st.text(max_size=2).filter(lambda other: other != text[place]))
    try:
        found = release_message.parse_message(text[:place] + other + text[place + 1 :])
    except UserError:
        return
    assert found != announced()
    assert release_message.message(found).removesuffix("\n") == (text[:place] + other + text[place + 1 :]).removesuffix(
        "\n"
    )


@given(st.text(max_size=200))
def test_a_text_that_is_no_message_is_refused(text):
    with pytest.raises(UserError):
        release_message.parse_message(text)


TEXT = release_message.message(announced())


def test_a_message_as_a_person_reads_it():
    head, _, rest = TEXT.partition("-----BEGIN TRUNKLINE PROVENANCE-----\n")
    assert head == (
        f"flight-delay v4\n\nbundle: {'b' * 64}\nverdict: {FACTS.hashes[GATES]}\n"
        "pull request: #12 by alice, approved by bob, dependabot[bot]\n\n"
    )
    assert rest.endswith("\n-----END TRUNKLINE PROVENANCE-----\n")
    assert {len(line) for line in rest.splitlines()[:-2]} == {76}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda text: text.replace("flight-delay v4", "Flight v4"), ["its first line is not a name and a version"]),
        (lambda text: text.replace("flight-delay v4", "flight-delay@v4"), ["is spaced, ordered or wrapped"]),
        (lambda text: text.replace("verdict: ", "verdikt: "), ["unknown line 'verdikt", "has no line 'verdict"]),
        (lambda text: text.replace("verdict: ", "bundle: "), ["has two lines 'bundle", "has no line 'verdict"]),
        (lambda text: text.replace("bundle: b", "bundle: B"), ["bundle: cannot be 'Bbb"]),
        (lambda text: text.replace("by alice", "by alice and bob"), ["pull request: cannot be '#12 by alice and"]),
        (lambda text: text.replace("-----BEGIN", "-----BEGUN"), ["unknown line", "has no line -----BEGIN"]),
        (lambda text: text.replace("-----END", "-----AND"), ["has no line -----END"]),
        (lambda text: text + "Signed-off-by: eve\n", ["goes on after the end of its provenance"]),
        (lambda text: text.replace("\ney", "\n!y"), ["its provenance is not base64"]),
        (lambda text: text.replace("\n", "\r\n"), ["has no line -----BEGIN"]),
        (lambda text: text + "\n", ["is spaced, ordered or wrapped"]),
        (lambda text: TEXT + TEXT, ["goes on after the end"]),
        (lambda text: "", ["its first line", "'bundle", "'verdict", "-----BEGIN"]),
    ],
)  # fmt: skip
def test_each_defect_of_a_message_has_its_line(edit, told):
    with pytest.raises(UserError) as refused:
        release_message.parse_message(edit(TEXT))
    lines = str(refused.value).splitlines()
    for words in told:
        assert any(words in line for line in lines), lines
    assert all(line.startswith("the tag's message is not one of trunkline release: ") for line in lines)


def test_a_login_that_would_change_the_message_is_refused():
    for author in ("alice\nbundle: 0", "alice, approved by bob", "", "mallory by"):
        with pytest.raises(UserError, match="login"):
            release_message.message(announced(run=ReleaseRun(review=ReviewFacts(1, author, ()))))


def test_what_belongs_together_does_not_differ():
    assert provenance.differences(announced(), FACTS, RUN, FACTS) == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"commit": OTHER}, f"the provenance is of commit {OTHER}, but the tag is on commit {COMMIT}: the tag was"),
        ({"digest": "a" * 64}, f"the provenance is of the bundle {'a' * 64}, but {GATES} of the bundle b"),
        ({"version": Version("flight-delay", 3)}, "the provenance is of flight-delay@v3, but the tag is flight-"),
        ({"version": Version("other", 4)}, "the provenance is of other@v4, but the tag is flight-delay@v4"),
        ({"verdict": "fail"}, f"the provenance says that the gates' verdict is fail, but {GATES} says pass"),
        *(
            ({"hashes": FACTS.hashes | {name: "0"}}, f"{name}: its sha256 is {value}, but the provenance has 0")
            for name, value in FACTS.hashes.items()
        ),
        *(
            ({"data": FACTS.data | {name: "0"}}, f"{name}: its MD5 in dvc.lock is {value}, but the provenance has")
            for name, value in FACTS.data.items()
        ),
        ({"data": {}}, f"data/raw: its MD5 in dvc.lock is {DIRECTORY}, but the provenance has None"),
        ({"hashes": FACTS.hashes | {"x": "0"}}, "x: its sha256 is None, but the provenance has 0"),
    ],
)  # fmt: skip
def test_each_difference_has_its_words(said, told):
    facts = replace(FACTS, **said)
    message = Announced(facts.version, facts.digest, facts.hashes[GATES], REVIEW, "")
    assert any(line.startswith(told) for line in provenance.differences(message, facts, RUN, FACTS))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"version": Version("flight-delay", 5)}, "the tag's message is of flight-delay@v5, but its provenance of"),
        ({"bundle": "a" * 64}, f"the tag's message announces the bundle {'a' * 64}, but its provenance the bundle"),
        ({"verdict": "a" * 64}, f"the tag's message and its provenance differ in {GATES}: {'a' * 64}"),
        ({"review": None}, "the tag's message tells of the pull request None, but its provenance of #12 by alice"),
    ],
)
def test_a_message_that_differs_from_its_provenance_is_found(said, told):
    [line] = provenance.differences(replace(announced(), **said), FACTS, RUN, FACTS)
    assert line.startswith(told)


def test_a_verdict_that_failed_is_found_though_everything_agrees():
    failed = replace(FACTS, verdict="fail")
    [line] = provenance.differences(announced(failed), failed, RUN, failed)
    assert line == f"the version's gates did not pass: {GATES} says fail"
