"""A version's bill of materials in CycloneDX 1.6: the model with its card, its data and the environment.

Pure, of what is committed: the same version gives the same bytes. Libraries are those of the lock that is signed with
the version; what a server needs besides is another lock.
"""

import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trunkline.adapters.git.documents import mapping
from trunkline.conf.evaluation import WHOLE
from trunkline.core import files, paths
from trunkline.core.params import dig
from trunkline.release import provenance
from trunkline.release.provenance import ENVIRONMENT, READ, Facts

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
FILES = (*READ, paths.SLICES, paths.CHOICE)
_TASKS = {
    "binary": "binary classification",
    "multiclass": "multi-class classification",
    "ordinal": "ordinal classification",
    "quantile": "quantile regression",
    "ranking": "learning to rank",
    "multilabel": "multi-label classification",
}
_PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE)


def encode(facts: Facts, committed: Mapping[Path, bytes]) -> str:
    """Return the bill of a version as JSON, of `FILES` as they are in its commit; equal facts give equal bytes."""
    return files.canonical_json(content(facts, committed), digits=None)


def content(facts: Facts, committed: Mapping[Path, bytes]) -> dict[str, Any]:
    """Return the bill of a version, of `FILES` as they are in its commit."""
    model, data, libraries = _model(facts, committed), list(_data(facts)), list(_libraries(committed))
    identity = f"{facts.version.tag} {facts.digest} {facts.commit}"
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, identity).urn,
        "version": 1,
        "metadata": {"component": model},
        "components": [*data, *libraries],
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": [each["bom-ref"] for each in (*data, *libraries)]},
            *({"ref": each["bom-ref"]} for each in (*data, *libraries)),
        ],
    }


def _model(facts: Facts, committed: Mapping[Path, bytes]) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": facts.version.tag,
        "name": facts.version.name,
        "version": facts.version.label,
        "hashes": [{"alg": "SHA-256", "content": facts.digest}],
        "modelCard": _card(committed),
        "properties": [
            {"name": "trunkline:commit", "value": facts.commit},
            {"name": "trunkline:verdict", "value": facts.verdict},
            *({"name": f"trunkline:sha256:{path}", "value": sha} for path, sha in sorted(facts.hashes.items())),
        ],
    }


def _card(committed: Mapping[Path, bytes]) -> dict[str, Any]:
    params = mapping(committed, paths.PARAMS) or {}
    model = dig(mapping(committed, paths.CHOICE), "model") or params.get("model")
    declared = dig(params, "bundle", "card") or {}
    task = str(dig(params, "data", "target", "task") or "binary")
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": _TASKS.get(task, task),
            "modelArchitecture": str(dig(model, "_target_")),
            "datasets": [{"ref": path.as_posix()} for path in provenance.DATA],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(mapping(committed, paths.SLICES) or {}))},
        "considerations": {
            "useCases": [str(declared[key]) for key in ("intended_use",) if key in declared],
            "technicalLimitations": [str(limit) for limit in declared.get("limits", ())],
        },
    }


def _metrics(slices: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each metric of the whole holdout that has a value, with its interval."""
    for name, estimate in sorted((dig(slices, WHOLE, WHOLE, "metrics") or {}).items()):
        if estimate["value"] is None:
            continue
        measured: dict[str, Any] = {"type": name, "value": f"{estimate['value']:g}"}
        if estimate["interval"]:
            low, high = estimate["interval"]
            measured["confidenceInterval"] = {"lowerBound": f"{low:g}", "upperBound": f"{high:g}"}
        yield measured


def _data(facts: Facts) -> Iterator[dict[str, Any]]:
    """Yield the data that the model is made of; an MD5 of a folder is of DVC's list of its files, no hash of bytes."""
    for path, md5 in sorted(facts.data.items()):
        hashed = {"properties": [{"name": "dvc:md5", "value": md5}]}
        yield {"type": "data", "bom-ref": path, "name": path, "data": [{"type": "dataset", "name": path}], **hashed}


def _libraries(committed: Mapping[Path, bytes]) -> Iterator[dict[str, Any]]:
    for name, version in sorted(_PINNED.findall(committed[ENVIRONMENT].decode())):
        purl = f"pkg:pypi/{name}@{version}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
