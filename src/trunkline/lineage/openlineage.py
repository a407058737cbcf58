"""A history as events of OpenLineage: what each commit ran of the pipeline on which data, and what was released.

Pure, of committed files and tags: the same range gives the same bytes in every clone. git knows no time of a run, so
an event has that of its commit. What cannot be read of an old commit is left out of its events.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trunkline.adapters.git.ancestry import Commit
from trunkline.adapters.git.documents import mapping
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.conf.origins import Origins
from trunkline.core import paths
from trunkline.core.params import dig
from trunkline.release.verify import VerifiedVersion

READ = (paths.PARAMS, paths.LOCK, paths.INGESTED, paths.GATES_REPORT)
PRODUCER = "urn:trunkline:lineage:v1"
EVENT = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
_STANDARD = {
    "schema": f"{_FACETS}/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "version": f"{_FACETS}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "columnLineage": f"{_FACETS}/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet",
    "outputStatistics": f"{_FACETS}/1-0-2/OutputStatisticsOutputDatasetFacet.json"
    "#/$defs/OutputStatisticsOutputDatasetFacet",
    "dataQualityAssertions": f"{_FACETS}/1-1-0/DataQualityAssertionsDatasetFacet.json"
    "#/$defs/DataQualityAssertionsDatasetFacet",
    "jobType": f"{_FACETS}/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
}
_TABLES = (paths.RAW.as_posix(), paths.VALID.as_posix())


@dataclass(frozen=True)
class Step:
    """A commit of the history, the files that it has of `READ`, and those of the commit before; None of the first."""

    commit: Commit
    files: Mapping[Path, bytes]
    before: Mapping[Path, bytes] | None


def lines(steps: Sequence[Step], released: Sequence[VerifiedVersion]) -> str:
    """Return the events of a history, oldest first, each as a line of JSON: of stages, then of versions."""
    runs = [*(run for step in steps for run in _of_step(step)), *map(_of_release, released)]
    events = (event for run in runs for event in _events(run))
    return "".join(json.dumps(event, sort_keys=True, ensure_ascii=False) + "\n" for event in events)


@dataclass(frozen=True)
class _Run:
    """What ran: of which model, which stage or `release`, what tells it from others, when, and what is known of it."""

    model: str
    job: str
    identity: str
    date: str
    facets: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]


def _of_step(step: Step) -> Iterator[_Run]:
    """Yield a run of each stage of dvc.lock whose entry is another than in the commit before."""
    params = mapping(step.files, paths.PARAMS) or {}
    name, known = str(params.get("name")), _facets_of_data(params)
    stages, former = _stages(step.files), _stages(step.before or {})
    outs = [out for stage in stages.values() for out in _listed(stage, "outs")]
    for stage, entry in stages.items():
        if entry == former.get(stage):
            continue
        read = [str(dep.get("path")) for dep in _listed(entry, "deps")]
        inputs = [_dataset(name, out, known) for out in outs if any(_meet(path, str(out.get("path"))) for path in read)]
        inputs += _sources(step.files) if stage == "ingest" else []
        outputs = [_output(name, out, known) for out in _listed(entry, "outs")]
        facets: dict[str, Any] = {"trunkline_commit": {"commit": step.commit.hash, "params": entry.get("params", {})}}
        gates = mapping(step.files, paths.GATES_REPORT) if stage == "gate" else None
        if gates:
            facets["trunkline_gates"] = _verdict(gates)
            _assert(inputs, gates)
        yield _Run(name, stage, step.commit.hash, step.commit.date, facets, inputs, outputs)


def _meet(path: str, other: str) -> bool:
    """Tell whether one of two paths is the other, or below it."""
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


def _of_release(version: VerifiedVersion) -> _Run:
    facts, review = version.facts, version.run.review
    reviewed = {"number": review.number, "author": review.author, "approvers": [*review.approvers]} if review else None
    facets = {
        "commit": facts.commit, "verdict": facts.verdict, "signedBy": version.signer, "builder": version.run.builder,
        "review": reviewed,
    }  # fmt: skip
    name = facts.version.name
    bundle = _dataset(name, {"path": paths.BUNDLE.as_posix(), "md5": facts.digest}, {})
    released = _dataset(name, {"path": facts.version.tag, "md5": facts.digest}, {})
    identity = f"{facts.version.tag} {facts.digest} {facts.commit}"
    return _Run(name, "release", identity, version.tag.date, {"trunkline_release": facets}, [bundle], [released])


def _events(run: _Run) -> Iterator[dict[str, Any]]:
    """Yield the two events that OpenLineage wants of every run: its start, and its end with all that is known."""
    event: dict[str, Any] = {
        "eventTime": datetime.fromisoformat(run.date).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "producer": PRODUCER,
        "schemaURL": EVENT,
        "job": {
            "namespace": run.model,
            "name": run.job,
            "facets": {"jobType": _facet("jobType", processingType="BATCH", integration="TRUNKLINE", jobType="STAGE")},
        },
    }
    named = {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run.model} {run.job} {run.identity}"))}
    facets = {key: _facet(key, **value) for key, value in run.facets.items()}
    yield event | {"eventType": "START", "run": named, "inputs": [], "outputs": []}
    ended = {"eventType": "COMPLETE", "run": named | {"facets": facets}}
    yield event | ended | {"inputs": list(run.inputs), "outputs": list(run.outputs)}


def _facet(kind: str, **content: Any) -> dict[str, Any]:
    url = _STANDARD.get(kind, f"urn:trunkline:facet:{kind.removeprefix('trunkline_')}:v1")
    return {"_producer": PRODUCER, "_schemaURL": url, **content}


# Datasets


def _dataset(namespace: str, entry: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a file or folder of dvc.lock; its version is the MD5 that DVC has of it."""
    path = str(entry["path"])
    facets = {"version": _facet("version", datasetVersion=str(entry.get("md5"))), **known.get(path, {})}
    return {"namespace": namespace, "name": path, "facets": facets}


def _output(namespace: str, entry: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    counted = {"size": entry.get("size"), "fileCount": entry.get("nfiles", 1)}
    statistics = {key: value for key, value in counted.items() if isinstance(value, int)}
    written = {"outputStatistics": _facet("outputStatistics", **statistics)}
    return _dataset(namespace, entry, known) | {"outputFacets": written}


def _sources(files: Mapping[Path, bytes]) -> list[dict[str, Any]]:
    """Return the sources that reports/ingest.json says were read, each with the hash of the table that came of it."""
    ingested = mapping(files, paths.INGESTED) or {}
    return [
        {
            "namespace": str(dig(source, "kind")),
            "name": str(dig(source, "address")),
            "facets": {"version": _facet("version", datasetVersion=str(dig(source, "table", "sha256")))},
        }
        for _, source in sorted(ingested.items())
    ]


def _facets_of_data(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the columns of tables and features by path, and of which columns each feature is made."""
    tables = _tables(params)
    facets = {path: {"schema": _facet("schema", fields=tables)} for path in _TABLES if tables}
    try:
        origins = Origins(
            Contract.parse(params.get("contract")),
            Data.parse(params.get("data")),
            Features.parse(params.get("features")),
        )
        made_of = {name: of for name, of in origins.of_features.items() if name not in origins.features.hidden}
    except (ValidationError, ValueError, LookupError):
        return facets
    source, namespace = paths.VALID.as_posix(), str(params.get("name"))
    fields = {
        name: {
            "inputFields": [{"namespace": namespace, "name": source, "field": ".".join(each)} for each in sorted(of)]
        }
        for name, of in sorted(made_of.items())
    }
    features = [{"name": name} for name in [*sorted(made_of), origins.data.target.name]]
    columns = {"schema": _facet("schema", fields=features), "columnLineage": _facet("columnLineage", fields=fields)}
    return facets | {paths.FEATURES.as_posix(): columns}


def _tables(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of a contract as fields, their columns within."""
    return [
        {
            "name": str(table),
            "type": "table",
            "fields": [
                {"name": str(name), "type": str(dig(column, "type")), "description": str(dig(column, "description"))}
                for name, column in sorted((dig(of, "columns") or {}).items())
            ],
        }
        for table, of in sorted((dig(params, "contract", "tables") or {}).items())
    ]


# Verdicts


def _verdict(gates: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("id", "kind", "verdict", "blocking", "reason")
    rules = [{key: dig(rule, key) for key in kept} for rule in _listed(gates, "gates")]
    return {"verdict": gates.get("verdict"), "bundle": gates.get("challenger"), "rules": rules}


def _assert(inputs: Sequence[dict[str, Any]], gates: Mapping[str, Any]) -> None:
    """Add what each rule that could judge says of the bundle, in the form in which catalogs show checks of data."""
    assertions = [
        {
            "assertion": str(dig(rule, "kind")),
            "name": str(dig(rule, "id")),
            "success": dig(rule, "verdict") == "pass",
            "severity": "error" if dig(rule, "blocking") else "warn",
        }
        for rule in _listed(gates, "gates")
        if dig(rule, "verdict") in ("pass", "fail")
    ]
    for dataset in inputs:
        if dataset["name"] == paths.BUNDLE.as_posix():
            dataset["inputFacets"] = {"dataQualityAssertions": _facet("dataQualityAssertions", assertions=assertions)}


def _stages(files: Mapping[Path, bytes]) -> dict[str, Any]:
    stages = dig(mapping(files, paths.LOCK), "stages")
    return {str(name): stage for name, stage in stages.items() if isinstance(stage, Mapping)} if stages else {}


def _listed(of: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = of.get(key)
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
