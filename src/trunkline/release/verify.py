"""Whether a version is what its tag says: the signature, the commit, what it was built from, the verdict, the bytes.

Offline: the tag holds the signed provenance, git the files, and DVC's cache the bundle. Who may sign is declared in
conf/deploy both now and in the version's commit: a key that is taken out is no longer trusted, and a new one proves
nothing that was released before it was merged.
"""

import hashlib
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import msgspec

from trunkline.adapters.git import ancestry, documents, repository
from trunkline.adapters.git.ancestry import GitTag
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.bundle.manifest import MANIFEST, Manifest
from trunkline.conf.deploy import Deploy
from trunkline.conf.gates import Gates
from trunkline.conf.signers import Key, Keyless
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.files import parse_json
from trunkline.core.params import Params
from trunkline.pipeline import claims
from trunkline.pipeline.reports import GatesReport
from trunkline.release import message, provenance, signing
from trunkline.release.provenance import Facts, ReleaseRun

GATE = "gate"  # the stage that judges


class RefusedError(UserError):
    """A version that must not be used; the message says what of it is not as it should be."""


@dataclass(frozen=True)
class VerifiedVersion:
    """A version whose chain holds from the tag to the verdict: who signed it, what it is made of, who made it how.

    `signed` is its provenance as it was signed.
    """

    version: Version
    tag: GitTag
    signer: str
    facts: Facts
    run: ReleaseRun
    gates: GatesReport
    signed: str

    @property
    def digest(self) -> str:
        """Digest of its bundle."""
        return self.facts.digest


def chain(folder: Path, version: Version, signers: Mapping[str, Key | Keyless]) -> VerifiedVersion:
    """Check a version's tag, signature, materials and verdict; nothing is fetched, and the bundle is not looked at.

    Raises RefusedError that says what does not hold, and UserError for a version that there is not, and where the
    libraries that verify are not installed.
    """
    signing.installed()
    tag = _tag(folder, version)
    try:
        return _proved(folder, version, tag, signers)
    except UserError as error:
        raise RefusedError("\n".join(f"{version}: {line}" for line in str(error).splitlines())) from None


def _proved(folder: Path, version: Version, tag: GitTag, signers: Mapping[str, Key | Keyless]) -> VerifiedVersion:
    announced = message.parse_message(tag.message)
    signed = signing.verify(announced.signed, signers)
    facts, run = provenance.decode(signed.payload)
    files = repository.files_at(folder, [tag.commit], provenance.READ)[tag.commit]
    wrong = provenance.differences(announced, facts, run, provenance.facts_of(files, tag.commit, version))
    if wrong:
        raise UserError("\n".join(wrong))
    declared = Deploy.of(documents.mapping(files, paths.PARAMS) or {}, f"{paths.PARAMS} of its commit").signers
    if signers[signed.signer] not in declared.values():
        raise UserError(f"is signed by {signed.signer}, which conf/deploy of its own commit does not declare")
    try:
        gates = GatesReport.model_validate(parse_json(files[paths.GATES_REPORT]))
    except ValueError:
        raise UserError(f"{paths.GATES_REPORT} of its commit is no verdict that follows from its gates") from None
    return VerifiedVersion(version, tag, signed.signer, facts, run, gates, announced.signed)


def check_bundle(folder: Path, verified: VerifiedVersion) -> int:
    """Compare the bundle in DVC's cache with the version's digest, byte by byte; return how many files it has.

    Raises RefusedError for a byte that changed, OutsideError for a bundle that is not in the cache.
    """
    content = _cached(folder, verified, MANIFEST)
    if hashlib.sha256(content).hexdigest() != verified.digest:
        raise RefusedError(
            f"{verified.version}: the bundle's {MANIFEST} does not have the digest {verified.digest[:12]}"
        )
    names = msgspec.json.decode(content, type=Manifest).files
    for name, expected in sorted(names.items()):
        if hashlib.sha256(_cached(folder, verified, name)).hexdigest() != expected:
            raise RefusedError(f"{verified.version}: the bundle's {name} was changed: its sha256 is not the manifest's")
    return len(names)


def judge_again(folder: Path, verified: VerifiedVersion) -> int:
    """Measure and judge a version again, by its own rules, from its scores and labels; return how many rules there are.

    They are taken from DVC's cache into a checkout that is removed afterwards. Raises RefusedError where metrics,
    slices or verdicts are not those of its commit, or a rule has no verdict; OutsideError where the cache lacks a file.
    """
    from trunkline.adapters import checkouts  # noqa: PLC0415  the chain needs neither DVC nor numpy
    from trunkline.pipeline.gate import decision, recompute  # noqa: PLC0415

    commit, version = verified.tag.commit, verified.version
    stages = claims.entries(Snapshot(folder, commit).mapping(paths.LOCK))
    given = {path for entry in stages.values() for path in claims.outputs(entry)}
    read = [str(dep["path"]) for dep in stages.get(GATE, {}).get("deps", ())]
    with checkouts.stored(folder, commit, [path for path in read if path in given]) as there, chdir(there):
        try:
            params = Params.read()
            verdicts = decision.reported(params.group(Gates), verified.gates)
            failed = [f"{path}: is not what scores, labels and rules give" for path in recompute.differences(params)]
        except UserError as error:
            advice = f"run: git checkout {version} && dvc fetch --with-deps {GATE}"
            raise OutsideError(f"{version}: cannot be judged again: {error}; {advice}") from None
    failed += [f"gate {each.id}: {each.reason}" for each in verdicts if each.blocking and each.verdict == "fail"]
    if failed:
        raise RefusedError("\n".join(f"{version}: {line}" for line in failed))
    return len(verdicts)


def _cached(folder: Path, verified: VerifiedVersion, name: str) -> bytes:
    from trunkline.adapters.dvc import cache  # noqa: PLC0415  DVC takes its time, and the chain needs none

    content = cache.cached_file(folder, verified.tag.commit, paths.BUNDLE / name)
    if content is None:
        advice = f"run: git checkout {verified.version} && dvc fetch {paths.BUNDLE}"
        raise OutsideError(
            f"{verified.version}: the bundle's {name} is not in DVC's cache, so it cannot be checked; {advice}"
        )
    return content


def _tag(folder: Path, version: Version) -> GitTag:
    tagged = ancestry.tag(folder, version.tag)
    if tagged is not None:
        return tagged
    if repository.resolve(folder, f"refs/tags/{version.tag}"):
        raise RefusedError(f"{version}: is a lightweight tag, which says nothing and can be moved; it is no release")
    raise UserError(f"there is no version {version} here; run: git fetch --tags")
