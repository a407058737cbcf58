"""`trunkline monitor` answers quiet or breach by its exit code, writes what is asked for, and changes nothing else."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from tests import bundles
from tests.monitor.logs import SINCE, reference_of, rows, write, write_outcomes
from tests.releases import history
from tests.rig.rig import rigged
from trunkline import cli
from trunkline.adapters.forge import api as forge_api
from trunkline.bundle import manifest
from trunkline.cli import commands, watching
from trunkline.cli.monitor import monitor
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.lineage import bundles as lineage_bundles
from trunkline.monitor import gauges

UNTIL = SINCE + timedelta(days=4)
INPUTS = (bundles.field("distance", "number"), bundles.field("origin", "text", nullable=False))


@pytest.fixture
def project(root, tmp_path, monkeypatch):
    """A folder with params.yaml and a bundle; the working directory."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["monitoring"] = {"matures": "1h", "read": "4d", "slices": ["origin"], "rules": None}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    folder = bundles.make(Path("bundle"), INPUTS)
    reference = reference_of(rows(5000, seed=1), {"roc_auc": 0.77})
    (folder / "reference.json").write_text(json.dumps(reference), encoding="utf-8")
    bundles.seal(folder)
    return tmp_path


def log(change=None):
    content = rows(4000, seed=2, days=4)
    content = content if change is None else content.with_columns(change)
    write(Path("log"), content, digest=manifest.digest(Path("bundle")), environment="production")
    write_outcomes(Path("log"), content, after=timedelta(minutes=1))


def ask(*arguments, code):
    given = ["--bundle", "bundle", "--log", "log", "--as-of", f"{UNTIL:%Y-%m-%d}", *arguments]
    done = CliRunner().invoke(monitor, given, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def test_a_quiet_log_is_quiet(project):
    log()
    done = ask(code=0)
    assert done.stdout.startswith("production: quiet; the bundle ")
    assert "4 windows with rows" in done.stdout
    assert sorted(path.name for path in project.iterdir()) == ["bundle", "log", "params.yaml"]
    assert json.loads(ask("--json", code=0).stdout)["alerts"] == []


def test_a_breach_is_said_written_and_drawn(project):
    log(pl.lit(None, pl.Float64).alias("distance"))
    done = ask(
        "-o",
        "monitoring.json",
        "--html",
        "monitoring.html",
        "--metrics",
        "monitoring.prom",
        "--markdown",
        "s.md",
        code=1,
    )
    assert "critical: missing of distance: missing is 1, limit 0." in done.stdout
    written = json.loads(Path("monitoring.json").read_text(encoding="utf-8"))
    [alert] = [each for each in written["alerts"] if each["cause"]["rule"] == "missing"]
    assert (alert["active"], alert["upstream"], alert["then"]) == (True, True, "issue")
    assert "| critical | `missing` of `distance`: `missing` is 1" in Path("s.md").read_text(encoding="utf-8")
    assert "<strong>breach</strong>" in Path("monitoring.html").read_text(encoding="utf-8")
    families = list(text_string_to_metric_families(Path("monitoring.prom").read_text(encoding="utf-8")))
    assert {family.name for family in families} <= set(gauges.NAMES)
    told = [s for family in families if family.name == "trunkline_monitor_alert" for s in family.samples]
    assert sum(sample.value for sample in told if sample.labels["severity"] == "critical") == 1


def test_another_environment_is_not_looked_at_and_an_earlier_moment_can_be(project):
    log(pl.lit(None, pl.Float64).alias("distance"))
    elsewhere = ask("--env", "staging", code=1).stdout
    assert "0 windows with rows" in elsewhere
    assert "not measured: anything: staging has logged no row of" in elsewhere
    assert "1 windows with rows" in ask("--as-of", f"{SINCE + timedelta(hours=20):%Y-%m-%dT%H:%M}", code=0).stdout


def test_a_log_without_a_row_is_a_breach_and_says_whether_others_are_logged(project):
    Path("log").mkdir()  # as a server that starts does
    assert "critical: silence of rows: production has logged no row of" in ask(code=1).stdout
    log()
    silent = ask("--as-of", "2027-03-01", code=1)
    assert "critical: silence of rows: production has logged no row of" in silent.stdout
    assert "nothing is logged; is it the bundle that serves?" in silent.stdout
    [alert] = json.loads(ask("--env", "staging", "--json", code=1).stdout)["alerts"]
    assert (alert["cause"]["rule"], alert["active"], alert["then"]) == ("silence", True, "issue")
    assert "the log has rows of other bundles or environments only" in ask("--env", "staging", code=1).stdout


def test_replay_shows_skew_to_the_rules_and_only_of_the_rows_that_are_watched(project):
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    rule = {"of": "skew", "measure": "share", "above": 0.0, "rows": 100, "then": "issue"}
    params["monitoring"] |= {"rules": {"skew": rule}}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    content = rows(4000, seed=2, days=4)
    model = watching.model(Path("bundle"))
    content = content.with_columns(pl.Series("score", model.score(content.select("distance", "origin"))))
    of = {"digest": model.digest, "environment": "production"}
    write(Path("log"), content, **of)
    write(Path("log"), rows(100, seed=9), **(of | {"environment": "staging"}))  # whose scores differ
    assert "skew within score" in " ".join(ask("--replay", code=0).stdout.split())
    late = rows(300, seed=4, start=SINCE + timedelta(days=3))  # some of the last day, scored otherwise
    write(Path("log"), late, **of)
    said = ask("--replay", "--json", code=1)
    [alert] = json.loads(said.stdout)["alerts"]
    cause = alert["cause"]
    assert (cause["kind"], cause["subject"], cause["since"]) == ("skew", "score", "2026-11-05T00:00:00+00:00")
    assert cause["value"] == pytest.approx(300 / cause["rows"])
    assert "skew" not in {row["kind"] for row in json.loads(ask("--json", code=0).stdout)["table"]}


def test_act_opens_one_issue_and_a_forge_that_is_down_is_exit_code_3(project, tmp_path, monkeypatch):
    monkeypatch.setattr(forge_api, "PAUSES", ())
    content = rows(4000, seed=2, days=4, start=datetime.now(UTC) - timedelta(days=4))
    gone = content.with_columns(pl.lit(None, pl.Float64).alias("distance"))
    write(Path("log"), gone, digest=manifest.digest(Path("bundle")), environment="production")

    def act(*more):
        given = ["monitor", "--bundle", "bundle", "--log", "log", "--act", *more]
        return commands.exit_code(lambda: cli.trunkline.main(given, standalone_mode=False))

    assert act("--as-of", f"{UNTIL:%Y-%m-%d}") == 2
    with rigged(tmp_path / "rig") as rig:
        token = rig.state.grant("github-actions[bot]", {"issues": "write"}, 7)
        settings = {"API_URL": f"{rig.forge.url}/api/v3", "REPOSITORY": "acme/model", "TOKEN": token}
        for name, value in settings.items():
            monkeypatch.setenv(f"GITHUB_{name}", value)
        assert act("--dry-run") == 0
        rig.forge.fail("POST", "/issues$", 1, 500)
        assert (act("--json"), rig.state.issues) == (3, {})
        assert (act(), act()) == (0, 0)
        [issue] = rig.state.issues.values()
        assert (issue.title, issue.state, issue.user) == (
            "production: missing of distance", "open", "github-actions[bot]",
        )  # fmt: skip
        assert rig.forge.violations == []


def test_a_bundle_without_a_reference_is_refused(project):
    log()
    Path("bundle/reference.json").unlink()
    bundles.seal(Path("bundle"))
    with pytest.raises(UserError, match=r"bundle/reference\.json: there is no such file; the bundle is too old"):
        ask(code=2)


def test_without_a_bundle_it_is_that_of_the_version_that_runs(tmp_path, monkeypatch):
    released = history(tmp_path)
    monkeypatch.chdir(released.root)
    of = bundles.make(tmp_path / "bundle")
    asked = []
    monkeypatch.setattr(lineage_bundles, "find", lambda root, digest, folders, aside: asked.append(digest) or of)
    running = watching.running(Params.read(), "production", tmp_path)
    assert (running.version, running.folder, asked) == ("v2", of, [released.digest(2)])
    assert running.released is not None
    with pytest.raises(UserError, match=r"no such environment in models/registry\.yaml"):
        watching.running(Params.read(), "prod", tmp_path)
    released.declare(production=None)
    said = CliRunner().invoke(monitor, ["--act", "--log", "log"], catch_exceptions=False)
    assert (said.exit_code, said.stdout) == (
        0,
        "nothing is watched: models/registry.yaml: production runs no version\n",
    )
    with pytest.raises(UserError, match="production runs no version; name a bundle: --bundle models/bundle"):
        watching.running(Params.read(), "production", tmp_path)
