"""conf/ of older versions gets the names of today."""

from pathlib import Path

import yaml

from trunkline.init import migrations

OLD = {
    "config.yaml": "defaults:\n  - model: gbm\n  - serving: late # ours\n  - promotion: late\n\nname: late\n",
    "serving/late.yaml": "# yaml-language-server: $schema=../../docs/schemas/serving.json\ntolerance: 1e-9\n",
    "promotion/late.yaml": "environments: {}\n",
    "experiment/fast.yaml": "defaults:\n  - override /serving: late\nserving:\n  tolerance: 1e-8\n",
}


def test_renamed_groups_keep_what_stands_in_them_and_new_ones_are_the_frameworks():
    new, done = migrations.migrated({Path("conf") / name: text for name, text in OLD.items()})
    assert len(done) == 4
    texts = {path.relative_to("conf").as_posix(): text for path, text in new.items()}
    assert texts["bundle/late.yaml"] == OLD["serving/late.yaml"].replace("serving.json", "bundle.json")
    assert texts["deploy/late.yaml"] == OLD["promotion/late.yaml"]
    assert "promotion/late.yaml" not in texts
    assert "limits:" in texts["serving/late.yaml"]  # of the new group serving, not of the old one
    assert "rules:" in texts["monitoring/late.yaml"]
    assert (
        "  - bundle: late # ours\n  - deploy: late\n  - serving: late\n  - monitoring: late\n" in texts["config.yaml"]
    )
    assert yaml.safe_load(texts["experiment/fast.yaml"]) == {
        "defaults": [{"override /bundle": "late"}],
        "bundle": {"tolerance": "1e-8"},
    }


def test_a_conf_of_today_stays_as_it_is(root):
    conf = {path.relative_to(root): path.read_text() for path in (root / "conf").rglob("*.yaml")}
    assert migrations.migrated(conf) == (conf, ())
