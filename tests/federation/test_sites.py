"""Versions of sites, each a repository with a remote of its own, are verified and pinned, and refused with a reason."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import bundles, releases
from trunkline.bundle.contract import Input
from trunkline.conf.model import Site
from trunkline.core.errors import OutsideError, UserError
from trunkline.federation import sites

PLAN: dict[str, Any] = {"outputs": [{"name": "delay"}], "timezone": "UTC"}
EXPECTED = sites.Expected(
    task="regression",
    label="late",
    classes=(),
    inputs=tuple(msgspec.convert(each, Input) for each in bundles.INPUTS),
    plan=PLAN,
    until=date(2013, 7, 1),
)


def published(
    folder: Path, signer: str = "release", plan: Mapping[str, Any] = PLAN, **made: Any
) -> tuple[releases.Project, Path]:
    """Release a bundle, as a site does; return its repository, and the bundle."""
    bundle = bundles.make(folder / "bundle", **made)
    (bundle / "golden.json").write_text('[{"request": {"delay": 5}, "score": 1}]')
    (bundle / "features.json").write_text(json.dumps(plan))
    bundles.seal(bundle)
    project = releases.Project(folder / "site", store=folder / "store").create()
    project.build(bundle=bundle).commit()
    project.release(signer=signer)
    return project, bundle


def declared(project: releases.Project, **changed: Any) -> Site:
    content = {"repository": str(project.root), "version": "flight-delay@v1", "signers": releases.signers()}
    return Site.model_validate(content | changed)


def refused(site: Site, expected: sites.Expected = EXPECTED) -> str:
    with pytest.raises((UserError, OutsideError)) as caught:
        sites.pinned("north", site, expected, os.environ)
    return str(caught.value)


def test_a_version_is_pinned_by_its_digest_and_no_row_of_it_is_kept(tmp_path: Path) -> None:
    project, bundle = published(tmp_path)
    pinned = sites.pinned("north", declared(project), EXPECTED, os.environ)
    assert (pinned.signer, pinned.digest, pinned.rows) == ("release", project.digest(1), releases.WINDOW["rows"])
    sites.write({"north": pinned, "south": pinned}, tmp_path / "models/sites")
    sites.write({"north": pinned}, tmp_path / "models/sites")
    written = {path.name: path.read_bytes() for path in (tmp_path / "models/sites").rglob("*") if path.is_file()}
    assert written == {name: (bundle / name).read_bytes() for name in ("manifest.json", "model.onnx")}
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["sites"]
    assert sites.kept("north", pinned.digest, tmp_path / "models/sites")
    (tmp_path / "models/sites/north/model.onnx").write_bytes(b"other")
    assert not sites.kept("north", pinned.digest, tmp_path / "models/sites")

    # What may differ from site to site, and what may not.
    levels = tuple(msgspec.structs.replace(each, description="ours", nulls=["NA"]) for each in EXPECTED.inputs)
    assert sites.pinned("north", declared(project), replace(EXPECTED, inputs=levels), os.environ) == pinned
    narrower = tuple(msgspec.structs.replace(each, max=9) if each.name == "delay" else each for each in levels)
    assert refused(declared(project), replace(EXPECTED, inputs=narrower)) == (
        "model.sites.north: has another contract than conf/contract and conf/features here: delay"
    )
    assert "the order of inputs" in refused(declared(project), replace(EXPECTED, inputs=levels[::-1]))
    assert "predicts late (regression), not early" in refused(declared(project), replace(EXPECTED, label="early"))
    assert "computes its features otherwise" in refused(declared(project), replace(EXPECTED, plan={"timezone": "CET"}))
    assert "was trained until 2013-07-01 (exclusive), after the own holdout begins on 2013-06-30" in refused(
        declared(project), replace(EXPECTED, until=date(2013, 6, 30))
    )


def test_a_version_that_is_not_signed_as_declared_is_refused(tmp_path: Path) -> None:
    project, bundle = published(tmp_path)
    assert "which conf/deploy does not declare" in refused(declared(project, signers=releases.signers("another")))
    assert "git clone failed" in refused(declared(project, version="flight-delay@v2"))
    project.tag("flight-delay@v1", project.message("flight-delay@v1").replace(project.digest(1), "0" * 64))
    assert refused(declared(project)).startswith("model.sites.north: flight-delay@v1: ")
    project.release(number=1)
    graph = (bundle / "model.onnx").read_bytes()
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    [stored] = [path for path in files if path.read_bytes() == graph]
    stored.write_bytes(b"another graph")
    assert "model.sites.north: " in refused(declared(project))
