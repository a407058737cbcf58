"""What the ingest stage of a project depends on, by where its sources are."""

import pytest
import yaml

from trunkline.init import framework_files, incoming
from trunkline.init.framework_files import Setup

PINS = {"a.csv": None, "b c.csv": None}


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ({"kind": "files", "url": "data/in/", "files": PINS}, ("data/in",)),
        ({"kind": "files", "url": "data/", "files": PINS}, ("data/a.csv", "data/b c.csv")),  # stages write there too
        ({"kind": "files", "url": "./", "files": PINS}, ("a.csv", "b c.csv")),
        ({"kind": "files", "url": "s3://bucket/in/", "files": PINS}, ()),
        ({"kind": "sql", "url": "sqlite:///data/x.db", "query": "select 1"}, ("data/x.db",)),
        ({"kind": "sql", "url": "postgresql+psycopg://host/x", "query": "select 1"}, ()),
        ({"kind": "sql", "environment": "WAGES", "query": "select 1"}, ()),
        ({"kind": "delta", "url": "lake/trips"}, ()),
        ({"kind": "package", "package": "seaborn"}, ()),
    ],
)
def test_sources_that_lie_in_the_project_are_depended_on(source, paths):
    assert incoming.paths([source, source]) == paths


def test_any_path_stands_in_dvc_yaml_as_it_is_however_long_the_list():
    names = tuple(f"in-coming, {{of}} the [year] #{year}: a long - name" for year in range(1990, 2020))
    setup = Setup("late", "Says what.", frozenset({"files"}), "none", names)
    text = next(text for path, text in framework_files.texts(setup).items() if path.name == "dvc.yaml")
    stages = yaml.safe_load(text)["stages"]
    assert stages["ingest"]["deps"][:30] == list(names)
    assert not {*names} & {*stages["validate"]["deps"]}
