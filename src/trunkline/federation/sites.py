"""The released versions of other sites: fetched by git and DVC, verified as one's own are, refused where they misfit.

Of a bundle, two files are kept, which hold no rows: the manifest, whose sha256 is the digest that conf/model pins, and
the graph. Golden rows and histograms stay where they are.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import msgspec
from pydantic import ValidationError

from trunkline.adapters.dvc import fetch, remote_files
from trunkline.adapters.git import remote
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.bundle import manifest
from trunkline.bundle.contract import Input, read_contract
from trunkline.bundle.manifest import CONTRACT, MANIFEST, MODELS, VerifiedBundle
from trunkline.conf import signers
from trunkline.conf.data import Windows
from trunkline.conf.model import Site
from trunkline.conf.project import Project
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.files import parse_json
from trunkline.core.tasks import Task
from trunkline.pipeline.bundle import inputs
from trunkline.pipeline.features import compiler, plan_json
from trunkline.pipeline.reports import DatasetReport
from trunkline.release import verify

PLAN = "features.json"  # of a bundle
GRAPH = MODELS["onnx"]


@dataclass(frozen=True)
class Expected:
    """What a site's model must be to be joined: of this task and label, asked for and computed from the same.

    `until` is the day on which the own holdout begins, before which a site's training must end; None without windows.
    """

    task: Task
    label: str
    classes: tuple[str, ...]
    inputs: tuple[Input, ...]
    plan: Mapping[str, Any]
    until: date | None = None

    @classmethod
    def of(cls, project: Project) -> Self:
        """Return what the own project declares; raises UserError for features that cannot be planned."""
        data = project.data
        plan = compiler.plan(project.features, data, project.contract)
        return cls(
            task=data.target.task,
            label=data.target.name,
            classes=data.target.class_names,
            inputs=tuple(inputs.inputs(project.features, plan, project.contract, data.sources)),
            plan=plan_json.plan_content(plan),
            until=data.window.holdout.start if data.window else None,
        )

    def misfits(self, given: "Expected") -> list[str]:
        """Return in what another model is not of what is joined here; nothing where it is."""
        theirs, ours = ((each.task, each.label, each.classes) for each in (given, self))
        if theirs != ours:
            return [f"predicts {given.label} ({given.task}), not {self.label} ({self.task}), or other classes"]
        asked, own = _asked(given.inputs), _asked(self.inputs)
        if asked != own:
            names = {each.name for each in asked if each not in own} | {each.name for each in own if each not in asked}
            what = ", ".join(sorted(names)) or "the order of inputs"
            return [f"has another contract than conf/contract and conf/features here: {what}"]
        plan = msgspec.to_builtins(self.plan)
        if {key: given.plan.get(key) for key in plan} != plan:
            return ["computes its features otherwise than conf/features here"]
        return []


@dataclass(frozen=True)
class PinnedSite:
    """A site's version that was verified: who signed it, its digest, the rows it was trained on, and what is kept."""

    signer: str
    digest: str
    rows: int
    files: Mapping[str, bytes]


def pinned(name: str, site: Site, expected: Expected, environ: Mapping[str, str]) -> PinnedSite:
    """Fetch a site's version and verify it.

    Raises UserError for one that is not signed as declared, or does not fit to the own contract, OutsideError for one
    that cannot be fetched; both name the site.
    """
    try:
        with tempfile.TemporaryDirectory() as aside:
            return _pinned(site, expected, Path(aside), environ)
    except (UserError, OutsideError) as error:
        lines = [f"model.sites.{name}: {line}" for line in str(error).splitlines()]
        raise type(error)("\n".join(lines)) from None


def _pinned(site: Site, expected: Expected, aside: Path, environ: Mapping[str, str]) -> PinnedSite:
    home, folder, version = aside / "home", aside / "bundle", Version.of_tag(site.version)
    assert version is not None  # noqa: S101  its pattern is that of a tag
    remote.clone(site.repository, site.version, home, environ)
    remote_files.refuse_foreign(home)
    verified = verify.chain(home, version, signers.of(site.signers))
    fetch.fetch(home, version, folder)
    bundle = manifest.read(folder, keep=frozenset({CONTRACT, GRAPH, PLAN}))
    if bundle.digest != verified.digest:
        raise UserError(f"its bundle has the digest {bundle.digest[:12]}, but {verified.digest[:12]} was signed")
    wrong = _differences(folder, bundle, expected)
    commit = Snapshot(home, verified.tag.commit)
    wrong += _too_late(commit, expected.until)
    if wrong:
        raise UserError("\n".join(wrong))
    files = {MANIFEST: (folder / MANIFEST).read_bytes(), GRAPH: bundle.kept[GRAPH]}
    return PinnedSite(verified.signer, bundle.digest, _rows(commit), files)


def _differences(folder: Path, bundle: VerifiedBundle, expected: Expected) -> list[str]:
    """Return in what a bundle is of another model than is joined here; nothing where it is of the same."""
    if bundle.manifest.runtime != "onnx":
        return ["its bundle holds no graph, which alone can be joined; have the site choose another estimator"]
    contract = read_contract(folder, bundle.kept[CONTRACT])
    plan = parse_json(bundle.kept.get(PLAN, b"{}"))
    given = Expected(bundle.manifest.task, contract.label, tuple(contract.classes), tuple(contract.inputs), plan)
    return expected.misfits(given)


def _asked(of: Sequence[Input]) -> list[Input]:
    """Return inputs without what may differ from place to place."""
    return [msgspec.structs.replace(each, description="", nulls=None, levels=None) for each in of]


def _too_late(commit: Snapshot, until: date | None) -> list[str]:
    """Return why a site may have learnt from what is the future of the own holdout."""
    declared = commit.mapping(paths.PARAMS).get("data", {}).get("window")
    if until is None or declared is None:
        return []
    try:
        train = Windows.model_validate(declared).train
    except ValidationError:
        return [f"{paths.PARAMS} of its commit has no data.window that can be read"]
    if train.end <= until:
        return []
    return [f"was trained until {train.end} (exclusive), after the own holdout begins on {until}: it knows the future"]


def _rows(commit: Snapshot) -> int:
    try:
        return DatasetReport.model_validate(commit.mapping(paths.DATASET)).windows.train.rows
    except ValidationError:
        raise UserError(f"{paths.DATASET} of its commit does not say how many rows it was trained on") from None


def write(sites: Mapping[str, PinnedSite], folder: Path = paths.SITES) -> None:
    """Write what is kept of each site; folders of others go. What a kill leaves is refused by its digest."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".sites-"))
    try:
        for name, site in sites.items():
            (aside / "new" / name).mkdir(parents=True)
            for file, content in site.files.items():
                (aside / "new" / name / file).write_bytes(content)
        if folder.exists():
            folder.replace(aside / "old")
        if sites:
            (aside / "new").replace(folder)
    finally:
        shutil.rmtree(aside)


def kept(name: str, digest: str | None, folder: Path = paths.SITES) -> bool:
    """Tell whether the files of a site are there as they were pinned."""
    from trunkline.pipeline.train import joint  # noqa: PLC0415  imports scikit-learn

    try:
        joint.graph_of(name, {"digest": digest, "rows": 1}, folder)
    except UserError:
        return False
    return True
