"""What Prometheus is told of the arms of an environment, and that what is over is told no more."""

import pytest

from trunkline.deploy.reconcile.gauges import Gauges
from trunkline.deploy.reconcile.state import Outcome, Reported, ReportedRollout

V4, V5 = (Reported("late", version, "d" * 64) for version in ("v4", "v5"))


def told(gauges, path, *outcomes):
    gauges.tell(outcomes, [], 0, 0.1, 0.0)
    gauges.write(path)
    return [line for line in path.read_text().splitlines() if line.startswith("trunkline_environment_arm_share{")]


def outcome(kind=None, share=0.0):
    rollout = ReportedRollout(kind, share, ("flight",), V5) if kind else None
    arms = Reported(V4.name, V4.version, V4.digest, rollout=rollout).arms
    return Outcome("production", "v4", "v4", "v4", "in-sync", (), 0, arms)


@pytest.mark.parametrize(
    ("kind", "share", "current", "candidate"), [("shadow", 50.0, 100.0, 50.0), ("canary", 12.5, 87.5, 12.5)]
)
def test_each_arm_has_its_version_and_share_while_there_is_one(tmp_path, kind, share, current, candidate):
    gauges, of = Gauges(), 'trunkline_environment_arm_share{{arm="{}",environment="production",version="{}"}} {}'.format
    assert told(gauges, tmp_path / "gauges.prom", outcome(kind, share)) == [
        of("current", "v4", current),
        of(kind, "v5", candidate),
    ]
    assert told(gauges, tmp_path / "gauges.prom", outcome()) == [of("current", "v4", 100.0)]
