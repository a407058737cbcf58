"""Makes a version of a commit of the trunk: what has passed its gates is pushed, described, signed and tagged.

The tag is the release: one object that holds the digest, the verdict and the signed provenance, made in one push that
the remote either takes or not. So a run that was stopped before it has released nothing, and one after it finds its
own release.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from trunkline.adapters.dvc import reproduce
from trunkline.adapters.dvc.survey import OPEN
from trunkline.adapters.forge import api
from trunkline.adapters.git import ancestry, remote, repository
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.bundle import manifest
from trunkline.conf import versions
from trunkline.conf.deploy import Deploy
from trunkline.conf.gates import Gates
from trunkline.conf.signers import Key, Keyless
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.files import parse_json
from trunkline.core.params import Params
from trunkline.pipeline.gate import decision, recompute
from trunkline.pipeline.plan import workspace
from trunkline.pipeline.reports import Reports, read
from trunkline.release import message as release_message
from trunkline.release import provenance, signing
from trunkline.release.provenance import ReviewFacts

ATTEMPTS = 20  # to get a number that nobody else takes at the same moment

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Released:
    """The outcome of a release, and why.

    released: the version is new. same: it is the version of this very bundle. superseded: a later commit of the trunk
    has been released, which holds this one. refused: it may not be; `why` has all reasons. would: a dry run.
    """

    what: Literal["released", "same", "superseded", "refused", "would"]
    version: Version | None
    digest: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExistingVersion:
    """A version that exists: its commit, and the digest that its tag announces."""

    version: Version
    commit: str
    digest: str


def release(  # noqa: PLR0913  each part of the outside world
    root: Path, trunk: str, environ: Mapping[str, str], forge: api.Forge | None, tell: Tell, *, write: bool = True
) -> Released:
    """Release the checked-out commit, or say why not; without `write`, only say what would be done.

    Raises UserError for reports that are broken, no key to sign with or no remote of DVC; OutsideError where a remote
    or the forge fails.
    """
    params = Params.read(root)
    name, reports = params.name, Reports.parse(read(root))
    answer = Released("refused", None, reports.bundle.digest, tuple(_reasons(root, params, reports)))
    fetched = remote.fetch(root, trunk, environ)
    _unmoved(name, fetched.moved)
    head = repository.head(root) or ""
    if not repository.is_ancestor(root, head, fetched.tip):
        why = f"{head[:10]} is not on the trunk ({trunk} of origin); only what was merged is released"
        answer = replace(answer, why=(*answer.why, why))
    if answer.why:
        return answer
    failed = _failed(root, params, reports)  # of a bundle that is a version, it decides nothing: that one passed
    for _ in range(ATTEMPTS):
        past = existing(root, name)
        settled = decided(
            past, head, answer.digest, _tip(root, fetched.tip, head), partial(repository.is_ancestor, root)
        )
        if settled is not None:
            return settled
        if failed:
            return replace(answer, why=tuple(failed))
        version = Version(name, past[-1].version.number + 1 if past else 1)
        if not write:
            return replace(answer, what="would", version=version)
        reproduce.send(root, (str(paths.BUNDLE),))
        review = _review(root, head, trunk, forge, tell)
        tags = _tags(root, version, head, environ, review, signers=params.group(Deploy).signers)
        if remote.push_tags(root, tags, environ):
            return replace(answer, what="released", version=version)
        tell(f"{version.tag} was taken meanwhile; trying the next number")
        _unmoved(name, remote.fetch(root, trunk, environ).moved)
    raise OutsideError(f"others took {ATTEMPTS} versions while this one was being released; run it again")


def existing(folder: Path, name: str) -> tuple[ExistingVersion, ...]:
    """Return the versions of a model that a clone knows, oldest first.

    Raises UserError for a tag that is not of a version.
    """
    tags = {tag.name: tag for tag in ancestry.annotated(folder)}
    existing = []
    for version in versions.of(name, tags):
        tag = tags[version.tag]
        try:
            digest = release_message.parse_message(tag.message).bundle
        except UserError as error:
            advice = "versions are made by trunkline release"
            raise UserError(f"{version}: {str(error).splitlines()[0]}; {advice}") from None
        existing.append(ExistingVersion(version, tag.commit, digest))
    return tuple(existing)


def decided(
    past: Sequence[ExistingVersion],
    head: str,
    digest: str,
    tip: str | None,
    is_ancestor: Callable[[str, str], bool],
) -> Released | None:
    """Say what a commit with this bundle is already, or None for a new version.

    It is what the newest version is, if that has the same bundle. A commit that is not the trunk's tip is passed over
    if the newest version is of a later commit, or has the bundle that the tip has, `tip`: `latest` would go back.
    """
    newest = past[-1] if past else None
    if newest is None:
        return None
    if newest.digest == digest:
        return Released("same", newest.version, digest)
    for release in past:
        if release.commit == head and release.digest == digest:
            return Released("same", release.version, digest)
    if newest.commit != head and is_ancestor(head, newest.commit):
        why = f"{newest.version} is of a later commit of the trunk, {newest.commit[:10]}, which holds this one"
        return Released("superseded", newest.version, digest, (why,))
    if newest.digest == tip:
        why = f"{newest.version} is what the trunk has by now"
        return Released("superseded", newest.version, digest, (why,))
    return None


def _tip(root: Path, tip: str, head: str) -> str | None:
    """Return the digest of the bundle that the trunk's tip has built, if that is not the checked-out commit."""
    content = Snapshot(root, tip).text(paths.BUNDLE_REPORT) if tip != head else None
    try:
        digest = parse_json(content or "{}").get("digest")
    except (ValueError, AttributeError):
        return None
    return str(digest) if digest else None


def _reasons(root: Path, params: Params, reports: Reports) -> list[str]:
    """Return why nothing can be said of the tree: it differs from the commit, or is not run."""
    changed = (
        *repository.changed(root, repository.INPUTS),
        *reproduce.uncommitted(root),
    )
    if changed:
        return [f"not committed: {path}" for path in sorted(set(changed))]
    plan, _ = workspace.plan(root, params, None)
    stale = [step.name for step in plan.steps if step.action in OPEN]
    if stale:
        return [f"its results are not those of this commit: dvc repro would run {', '.join(stale)}"]
    if manifest.verify(root / paths.BUNDLE) != reports.bundle.digest:
        return [f"{paths.BUNDLE} is not the bundle that {paths.BUNDLE_REPORT} describes; run: dvc repro"]
    return []


def _failed(root: Path, params: Params, reports: Reports) -> list[str]:
    """Return which gates keep a bundle from being a version."""
    verdicts = decision.decide(params.group(Gates), reports.gates, root)
    failed = [f"{path}: is not what scores, labels and rules give" for path in recompute.differences(params)] + [
        f"gate {verdict.id}: {verdict.reason}" for verdict in verdicts if verdict.blocking and verdict.verdict == "fail"
    ]
    return failed or (
        [] if reports.gates.verdict == "pass" else ["no rule was judged; a model without a verdict is not released"]
    )


def _tags(  # noqa: PLR0913  what is signed, and by whom
    root: Path,
    version: Version,
    head: str,
    environ: Mapping[str, str],
    review: ReviewFacts | None,
    *,
    signers: Mapping[str, Key | Keyless],
) -> dict[str, str]:
    """Make the signed tag, and the one that GTO reads, which no ref names yet."""
    files = repository.files_at(root, [head], provenance.READ)[head]
    facts, run = provenance.facts_of(files, head, version), provenance.run_of(environ, review)
    # A keyless signature is public for ever, names and all: it is asked for only where a workflow is declared.
    keyless = any(isinstance(signer, Keyless) for signer in signers.values())
    given = environ if keyless else {**environ, signing.TOKEN_ADDRESS: ""}
    signed = signing.sign(provenance.encode(facts, run), given)
    signing.verify(signed, signers)  # a number is not spent on a signature that nobody trusts
    verdict = facts.hashes[paths.GATES_REPORT.as_posix()]
    message = release_message.message(provenance.Announced(version, facts.digest, verdict, review, signed))
    other = f"{version} as GTO names it\n\nbundle: {facts.digest}\n"
    return {
        version.tag: remote.annotated(root, version.tag, head, message),
        version.semantic: remote.annotated(root, version.semantic, head, other),
    }


def _review(root: Path, head: str, trunk: str, forge: api.Forge | None, tell: Tell) -> ReviewFacts | None:
    """Return who brought the commit to the trunk, and who approved; None for one that came without a pull request."""
    commit: str | None = head
    results = {str(paths.LOCK), *reproduce.results(root)}
    while forge is not None and commit is not None:
        merged = api.retried(partial(forge.merged, commit, trunk), tell)
        if merged is not None:
            return ReviewFacts(merged.number, merged.author, merged.approvers)
        parent = repository.resolve(root, f"{commit}^")
        only_results = parent and results.issuperset(repository.changed_between(root, parent, commit))
        commit = parent if only_results else None  # a commit of what `dvc repro` wrote belongs to the one under it
    return None


def _unmoved(name: str, moved: Sequence[str]) -> None:
    ours = versions.of(name, moved)
    if ours:
        raise UserError(f"{ours[0].tag}: origin has another tag of this name: it was moved; a version never changes")
