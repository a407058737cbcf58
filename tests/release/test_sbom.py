"""A version's bill of materials: valid CycloneDX, the same bytes twice, and nothing for a version that is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.releases import NAME, Project
from trunkline.cli.sbom import sbom
from trunkline.release.verify import RefusedError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(tmp_path / "project").create().params(bundle__card__limits=["Other airports"]).build(0.76)
    project.commit()
    project.release()
    monkeypatch.chdir(project.root)
    return project


def test_it_is_valid_has_the_model_the_data_and_the_libraries_and_the_same_bytes_elsewhere(project, monkeypatch):
    text = CliRunner().invoke(sbom, ["v1"], catch_exceptions=False).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    model = bill["metadata"]["component"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": project.digest(1)}]
    card = model["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "roc_auc", "value": "0.76", "confidenceInterval": {"lowerBound": "0.75", "upperBound": "0.77"}}
    ]
    assert card["considerations"]["technicalLimitations"] == ["Other airports"]
    assert {each["type"]: each["name"] for each in bill["components"]} == {"data": "data/valid", "library": "tqdm"}
    assert "pkg:pypi/scikit-learn@1.9.1" in {each.get("purl") for each in bill["components"]}
    clone = replace(project, root=project.clone(project.root.parent / "clone").root)
    monkeypatch.chdir(clone.root)
    clone.write("params.yaml", clone.read("params.yaml").replace("seed: 7", "seed: 8"))
    assert CliRunner().invoke(sbom, ["v1", "-o", "bill.json"], catch_exceptions=False).exit_code == 0
    assert (clone.root / "bill.json").read_text(encoding="utf-8") == text


def test_a_version_that_is_refused_has_no_bill(project):
    project.tag(f"{NAME}@v1", project.message(f"{NAME}@v1"), project.commit("Another"))
    with pytest.raises(RefusedError, match="the tag was moved"):
        CliRunner().invoke(sbom, ["v1"], catch_exceptions=False)
