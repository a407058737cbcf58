"""What a release says of itself: an in-toto statement with SLSA's provenance, and the tag's message that carries it.

Pure: no git, no clock. Everything that is read must be, byte for byte, what this module writes from it, so that there
is one way to say a thing, and what is not understood is refused.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from trunkline.adapters.git import documents
from trunkline.conf import versions
from trunkline.conf.versions import Version
from trunkline.core import files, paths
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json

STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
BUILD = "urn:trunkline:release:v1"  # how versions are built
LOCAL = "urn:trunkline:local"  # a builder that is no workflow
ENVIRONMENT = Path("locks/pipeline.txt")
DATA = (paths.RAW, paths.VALID, paths.FEATURES)
READ = (paths.PARAMS, paths.LOCK, ENVIRONMENT, paths.GATES_REPORT)
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReviewFacts:
    """The pull request that brought a commit to the trunk: its author and its approvers, as the forge reported them."""

    number: int
    author: str
    approvers: tuple[str, ...]

    def __str__(self) -> str:
        """Write it on one line."""
        approved = f", approved by {', '.join(self.approvers)}" if self.approvers else ""
        return f"#{self.number} by {self.author}{approved}"


@dataclass(frozen=True)
class Facts:
    """What a commit makes of a version; anyone who has the commit can compute it.

    `digest` is the bundle's that was judged, `verdict` what its gates say, `hashes` the sha256 of each file of `READ`,
    `data` what dvc.lock has of each output of `DATA`: an MD5, with .dir where it is of a folder's list.
    """

    version: Version
    digest: str
    commit: str
    verdict: str
    hashes: Mapping[str, str]
    data: Mapping[str, str]


@dataclass(frozen=True)
class ReleaseRun:
    """Who released: a workflow and its run, or a person; and the review, if the forge reported one.

    `repository` is the address of the one whose workflow it was; None of a person's, and of older versions.
    """

    builder: str = LOCAL
    invocation: str | None = None
    review: ReviewFacts | None = None
    repository: str | None = None


@dataclass(frozen=True)
class Announced:
    """A tag's message: the bundle's digest, the sha256 of reports/gates.json, the review, and the signed provenance."""

    version: Version
    bundle: str
    verdict: str
    review: ReviewFacts | None
    signed: str


def facts_of(files: Mapping[Path, bytes], commit: str, version: Version) -> Facts:
    """Return what the files of `READ`, as they are in a commit, make of a version.

    Raises UserError for a file that is missing, lacks what is needed of it, or is of a model of another name.
    """
    for path in READ:
        if path not in files:
            raise UserError(f"{path}: is not in commit {commit[:10]}; a version is made of a commit that has it")
    gates, name = _mapping(paths.GATES_REPORT, files), _mapping(paths.PARAMS, files).get("name")
    digest, verdict = (str(gates.get(key)) for key in ("challenger", "verdict"))
    if not SHA256.fullmatch(digest) or verdict not in ("pass", "fail"):
        raise UserError(f"{paths.GATES_REPORT}: is no verdict on a bundle; run: dvc repro")
    if name != version.name:
        raise UserError(f"{paths.PARAMS}: name: is {name} in commit {commit[:10]}, which can be no {version}")
    hashes = {path.as_posix(): hashlib.sha256(files[path]).hexdigest() for path in READ}
    return Facts(version, digest, commit, verdict, hashes, _outputs(_mapping(paths.LOCK, files)))


def _mapping(path: Path, files: Mapping[Path, bytes]) -> dict[str, Any]:
    content = documents.mapping(files, path)
    if content is None:
        raise UserError(f"{path}: is not what the pipeline writes; run: dvc repro")
    return content


def _outputs(lock: dict[str, Any]) -> dict[str, str]:
    try:
        outs = {out["path"]: str(out["md5"]) for stage in lock["stages"].values() for out in stage.get("outs", ())}
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{paths.LOCK}: is not what DVC writes; run: dvc repro") from None
    for path in DATA:
        if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", outs.get(path.as_posix(), "")):
            raise UserError(f"{paths.LOCK}: has no MD5 of {path}; run: dvc repro")
    return {path.as_posix(): outs[path.as_posix()] for path in DATA}


def run_of(environ: Mapping[str, str], review: ReviewFacts | None = None) -> ReleaseRun:
    """Return who releases, by the variables of GitHub Actions or GitLab CI; without them, a person does."""
    if environ.get("GITHUB_WORKFLOW_REF"):
        server = environ.get("GITHUB_SERVER_URL", "https://github.com")
        attempt = f"actions/runs/{environ.get('GITHUB_RUN_ID')}/attempts/{environ.get('GITHUB_RUN_ATTEMPT', '1')}"
        repository = f"{server}/{environ.get('GITHUB_REPOSITORY')}"
        builder = f"{server}/{environ['GITHUB_WORKFLOW_REF']}"
        return ReleaseRun(builder, f"{repository}/{attempt}", review, repository)
    if environ.get("CI_PROJECT_URL"):
        repository = environ["CI_PROJECT_URL"]
        return ReleaseRun(f"{repository}/-/pipelines", environ.get("CI_JOB_URL"), review, repository)
    return ReleaseRun(review=review)


# The statement


def statement(facts: Facts, run: ReleaseRun) -> dict[str, Any]:
    """Return the in-toto statement: of the bundle, that this run made it of these things."""
    review = run.review and {
        "name": "pull request",
        "annotations": {
            "number": run.review.number,
            "author": run.review.author,
            "approvedBy": list(run.review.approvers),
        },
    }
    return {
        "_type": STATEMENT,
        "subject": [{"name": facts.version.name, "digest": {"sha256": facts.digest}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"name": facts.version.name, "version": facts.version.label}
                | ({"repository": run.repository} if run.repository else {}),
                "resolvedDependencies": [
                    {"name": "commit", "digest": {"gitCommit": facts.commit}}
                    | ({"uri": f"git+{run.repository}"} if run.repository else {}),
                    *(_file(name, sha256, facts.verdict) for name, sha256 in sorted(facts.hashes.items())),
                    *({"name": name, "digest": md5_digest(md5)} for name, md5 in sorted(facts.data.items())),
                ],
            },
            "runDetails": {
                "builder": {"id": run.builder},
                "metadata": {"invocationId": run.invocation} if run.invocation else {},
                "byproducts": [review] if review else [],
            },
        },
    }


def _file(name: str, sha256: str, verdict: str) -> dict[str, Any]:
    annotated = {"annotations": {"verdict": verdict}} if name == paths.GATES_REPORT.as_posix() else {}
    return {"name": name, "digest": {"sha256": sha256}, **annotated}


def md5_digest(value: str) -> dict[str, str]:
    """Name an MD5 of dvc.lock as in-toto does; that of a folder is of DVC's list of its files, of no bytes in it."""
    plain = value.removesuffix(".dir")
    return {"md5": plain} if plain == value else {"dvcDirMd5": plain}


def encode(facts: Facts, run: ReleaseRun) -> bytes:
    """Return the statement as JSON; equal facts give equal bytes."""
    return files.canonical_json(statement(facts, run), digits=None).encode()


def decode(payload: bytes) -> tuple[Facts, ReleaseRun]:
    """Return what a statement says; raises UserError for bytes that `encode` would not have written."""
    try:
        facts, run = _parsed(parse_json(payload))
        if encode(facts, run) == payload:
            return facts, run
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, msgspec.ValidationError):
        pass  # in which way it is another document says nothing
    raise UserError("the provenance is not a statement as trunkline release writes it")


def _parsed(content: Any) -> tuple[Facts, ReleaseRun]:
    """Take from a statement what `statement` puts there; `decode` finds out whether there is more."""
    build, details = content["predicate"]["buildDefinition"], content["predicate"]["runDetails"]
    commit, *inputs = build["resolvedDependencies"]
    parameters, byproducts = build["externalParameters"], details["byproducts"]
    digests = {item["name"]: item["digest"] for item in inputs}
    facts = {
        "version": {"name": parameters["name"], "number": versions.number(parameters["version"])},
        "digest": content["subject"][0]["digest"]["sha256"],
        "commit": commit["digest"]["gitCommit"],
        "verdict": next((item["annotations"]["verdict"] for item in inputs if "annotations" in item), None),
        "hashes": {name: digest["sha256"] for name, digest in digests.items() if "sha256" in digest},
        "data": {
            name: digest["md5"] if "md5" in digest else f"{digest['dvcDirMd5']}.dir"
            for name, digest in digests.items()
            if "sha256" not in digest
        },
    }
    run = {
        "builder": details["builder"]["id"],
        "invocation": details["metadata"].get("invocationId"),
        "review": _review(byproducts[0]["annotations"]) if byproducts else None,
        "repository": parameters.get("repository"),
    }
    return msgspec.convert(facts, Facts), msgspec.convert(run, ReleaseRun)


def _review(annotations: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": annotations["number"],
        "author": annotations["author"],
        "approvers": annotations["approvedBy"],
    }


def differences(announced: Announced, facts: Facts, run: ReleaseRun, actual: Facts) -> list[str]:
    """Compare a tag's message, the provenance in it, and what the tag's commit makes of the version.

    Returns a line for each thing in which they differ, or for which the version may not exist; none: all is well.
    """
    gates = paths.GATES_REPORT.as_posix()
    pairs = (
        (announced.version, facts.version, "the tag's message is of {}, but its provenance of {}"),
        (announced.bundle, facts.digest, "the tag's message announces the bundle {}, but its provenance the bundle {}"),
        (
            announced.verdict,
            facts.hashes.get(gates),
            f"the tag's message and its provenance differ in {gates}: {{}}, {{}}",
        ),
        (announced.review, run.review, "the tag's message tells of the pull request {}, but its provenance of {}"),
        (facts.version, actual.version, "the provenance is of {}, but the tag is {}"),
        (facts.commit, actual.commit, "the provenance is of commit {}, but the tag is on commit {}: the tag was moved"),
        (facts.digest, actual.digest, f"the provenance is of the bundle {{}}, but {gates} of the bundle {{}}"),
    )
    differing = [words.format(pair, other) for pair, other, words in pairs if pair != other]
    failed = [f"the version's gates did not pass: {gates} says {actual.verdict}"] if actual.verdict != "pass" else []
    if facts.verdict != actual.verdict:
        failed.append(
            f"the provenance says that the gates' verdict is {facts.verdict}, but {gates} says {actual.verdict}"
        )
    kinds = ((facts.hashes, actual.hashes, "sha256"), (facts.data, actual.data, f"MD5 in {paths.LOCK}"))
    changed = [
        f"{name}: its {what} is {present.get(name)}, but the provenance has {signed.get(name)}"
        for signed, present, what in kinds
        for name in sorted({*signed, *present})
        if signed.get(name) != present.get(name)
    ]
    return [*differing, *failed, *changed]
