"""`trunkline render monitoring` writes three files, once; --check says whether they are what conf/ declares."""

import stat

import yaml
from click.testing import CliRunner

from trunkline.cli import trunkline

RECEIVERS = {"oncall": {"webhook": {"url_env": "ONCALL"}}}
NAMES = ["alertmanager.yml", "grafana-dashboard.json", "prometheus-rules.yml"]


def run(project, *arguments, code=0, **env):
    command = ["render", "monitoring", "--project", str(project), "-o", str(project / "out"), *arguments]
    done = CliRunner().invoke(trunkline, command, env=env)
    assert done.exit_code == code, done.output
    return done.output


def declare(project, **alerting):
    (project / "params.yaml").write_text(yaml.safe_dump({"monitoring": {"alerting": alerting}}))


def test_what_is_written_is_what_is_declared_until_that_changes(tmp_path):
    declare(tmp_path)
    out = tmp_path / "out"
    assert "would be written" in run(tmp_path, "--dry-run")
    assert not out.exists()
    assert run(tmp_path, "--check", code=1).count("is not what conf/monitoring declares; run: trunkline render") == 3
    assert run(tmp_path).count(": written") == 3
    assert sorted(path.name for path in out.iterdir()) == NAMES
    before = (out / "prometheus-rules.yml").stat().st_mtime_ns
    assert run(tmp_path, "--check").count("as declared") == run(tmp_path).count("as declared") == 3
    assert (out / "prometheus-rules.yml").stat().st_mtime_ns == before
    declare(tmp_path, rules={"errors": {"above": 0.2}})
    changed = run(tmp_path, "--check", code=1).splitlines()
    assert ["is not what" in line for line in changed] == [True, False, False]


def test_an_address_of_the_environment_is_in_a_file_of_its_owner_alone(tmp_path):
    declare(tmp_path, receivers=RECEIVERS, routes={"critical": "oncall"})
    run(tmp_path, ONCALL="https://hooks.example.org/x8Kd02mPq7Rt5Vw1")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == dict.fromkeys(NAMES, 0o644) | {"alertmanager.yml": 0o600}
    assert "x8Kd02mPq7Rt5Vw1" in (tmp_path / "out/alertmanager.yml").read_text()


def test_without_that_variable_nothing_is_written(tmp_path):
    declare(tmp_path, receivers=RECEIVERS)
    done = CliRunner().invoke(
        trunkline, ["render", "monitoring", "--project", str(tmp_path), "-o", str(tmp_path / "out")]
    )
    assert "the environment variable ONCALL is not set" in str(done.exception)
    assert not (tmp_path / "out").exists()
