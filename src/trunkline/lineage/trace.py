"""Gathers the chain behind a version, a bundle, a commit or a prediction: from git, DVC's cache, the logs, the forge.

Nothing is fetched and nothing is written. What a name means is tried in a fixed order: a version, the digest of a
bundle, a commit, a prediction's request id; where it could mean more, a note says so. A bundle that no version
announces is looked for in the reports of every commit, and in those of the working tree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trunkline.adapters.dvc import cache
from trunkline.adapters.forge.api import Forge
from trunkline.adapters.git import ancestry, messages, repository
from trunkline.adapters.git.ancestry import Commit
from trunkline.conf import versions
from trunkline.conf.versions import Version
from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy import history
from trunkline.lineage import builds, facts, predictions, stays
from trunkline.lineage.chain import Chain, Kind, Lineage, Made, Reviewed
from trunkline.release import releases
from trunkline.release.releases import Releases
from trunkline.serve.log import Prediction
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.show.text import clean

FEWEST = 7  # digits of a digest or a commit

FETCH = "run: git fetch origin --tags"
NONE = "none: the forge knows of no pull request that brought it to the trunk"
OFF = "it is not on the trunk, so no pull request has brought it there"
ASK = "set GITHUB_REPOSITORY and GITHUB_TOKEN, or GitLab's variables, to ask the forge"


@dataclass(frozen=True)
class Subject:
    """What a name means: a version, or a commit without one; both None for a bundle that none here has."""

    kind: Kind
    version: Version | None = None
    commit: str | None = None
    prediction: Prediction | None = None
    notes: tuple[str, ...] = ()


class UnknownError(UserError):
    """A name that means nothing here; exits with 1."""

    exit_code = 1


def trace(folder: Path, asked: str, trunk: str, logs: Sequence[str], forge: Forge | None) -> Lineage:
    """Return the chain behind a name; `forge` is asked for what the tag does not say, unless it is None.

    Raises UnknownError for a name that means nothing here, UserError for an ambiguous one.
    """
    released = releases.releases(folder, trunk)
    subject = identify(folder, released, asked, logs)
    if subject.commit is None:
        digest = subject.prediction.digest if subject.prediction else asked
        why = f"no version here announces the bundle {clean(digest)[:12]}, and no commit here reports it; {FETCH}"
        return Lineage(
            asked=clean(asked), kind=subject.kind, trunk=released.trunk.ref, notes=subject.notes,
            prediction=subject.prediction, chain=None, commit=None, review=None, verdict=None, declared=None,
            data=(), rows=None, environment=None, runs=(), unknown={"chain": why},
        )  # fmt: skip
    return _chain(folder, released, asked, subject, forge)


def identify(folder: Path, released: Releases, asked: str, logs: Sequence[str]) -> Subject:
    """Return what a name means, tried in the order that the module's docstring gives."""
    for meaning_of in (_as_version, _as_digest, _as_commit):
        subject = meaning_of(folder, released, asked)
        if subject is not None:
            return subject
    row = predictions.find(logs, asked, Keys.declared(folder)) if logs else None
    if row is None:
        searched = predictions.expand(logs) if logs else ()
        meaning = f"{clean(asked)}: is no version, no bundle's digest and no commit here"
        if not searched:
            raise UnknownError(f"{meaning}; a prediction's request id is looked for in --log FOLDER")
        files = ", ".join(map(str, searched[:5])) + (f" and {len(searched) - 5} more" if len(searched) > 5 else "")
        raise UnknownError(f"{meaning}, and no prediction in {files}")
    meant = _as_digest(folder, released, row.digest) if re.fullmatch(r"[0-9a-f]{64}", row.digest) else None
    return replace(meant or Subject("request"), kind="request", prediction=row)


def _as_version(folder: Path, released: Releases, asked: str) -> Subject | None:
    if versions.number(asked.removeprefix(f"{released.name}@")) is None:
        return None
    version = versions.named(asked, released.name)
    if version not in released.tags:
        newest = f"the newest is {max(released.tags).label}" if released.tags else "there is none yet"
        raise UnknownError(f"there is no version {version} here ({newest}); {FETCH}")
    return Subject("version", version, released.tags[version].commit)


def _as_digest(folder: Path, released: Releases, asked: str) -> Subject | None:
    if not re.fullmatch(rf"[0-9a-f]{{{FEWEST},64}}", asked):
        return None
    digests = released.digests
    matching = tuple(sorted(digest for digest in digests if digest.startswith(asked)))
    if len(matching) > 1:
        listed = ", ".join(f"{digest[:16]} ({digests[digest][0].label})" for digest in matching)
        raise UserError(f"{asked}: begins the digests of several bundles: {listed}; name more digits")
    if not matching:
        return _as_unreleased(folder, released, asked)
    version = digests[matching[0]][0]
    return Subject("digest", version, released.tags[version].commit, notes=_hidden(folder, asked))


def _hidden(folder: Path, asked: str) -> tuple[str, ...]:
    """Return a note on a commit that a digest hides."""
    also = ancestry.with_prefix(folder, asked)
    return tuple(
        f"also begins the commit {commit[:12]}, which is not meant: a digest comes first; name more digits"
        for commit in also[:1]
    )


def _as_unreleased(folder: Path, released: Releases, asked: str) -> Subject | None:
    """Return the first commit that reports a bundle of this digest, one that the trunk holds before any other."""
    reported = builds.reported(folder, asked)
    if len(reported) > 1:
        listed = ", ".join(f"{digest[:16]} (of {commits[0][:12]})" for digest, commits in sorted(reported.items()))
        raise UserError(f"{asked}: begins the digests of several bundles: {listed}; name more digits")
    for digest, commits in reported.items():
        merged = (commit for commit in commits if ancestry.landing(folder, commit, released.trunk))
        note = f"no version announces the bundle {digest}; this commit reports it, and nobody has signed that"
        return Subject("digest", None, next(merged, commits[0]), notes=(note, *_hidden(folder, asked)))
    if (built := builds.here(folder)) is not None and built.startswith(asked):
        note = f"the bundle {built} is that of the working tree: no commit here reports it, and it was never released"
        return Subject("digest", notes=(note, *_hidden(folder, asked)))
    return Subject("digest") if len(asked) == 64 else None


def _as_commit(folder: Path, released: Releases, asked: str) -> Subject | None:
    if re.fullmatch(r"[0-9a-f]{4,39}", asked):
        commits = ancestry.with_prefix(folder, asked)
        if len(commits) > 1:
            listed = ", ".join(commit_hash[:12] for commit_hash in commits[:5])
            raise UserError(f"{asked}: begins the hashes of several commits: {listed}; name more digits")
    commit = repository.resolve(folder, asked)
    if commit is None:
        return None
    tagged = sorted(version for version, tag in released.tags.items() if tag.commit == commit)
    notes = (f"the commit of {', '.join(version.label for version in tagged)}",) if len(tagged) > 1 else ()
    return Subject("commit", tagged[-1] if tagged else None, commit, notes=notes)


def _chain(folder: Path, released: Releases, asked: str, subject: Subject, forge: Forge | None) -> Lineage:
    commit = subject.commit or ""
    where = ancestry.landing(folder, commit, released.trunk)
    before, first = _between(released, subject.version, where)
    read = [commit, *([released.tags[before].commit] if before else [])]
    files = repository.files_at(folder, read, facts.READ)
    details = ancestry.commits(folder, dict.fromkeys([commit, *([where] if where else [])]))
    chain = _version(folder, released, subject.version) if subject.version else None
    review, unknown = _signed(released, subject.version, chain), dict[str, str]()
    if review is None:
        review, why = reviewed(details[where], released, forge) if where else (None, OFF)
        unknown = {"review": why} if why else {}
    if chain is None:
        unknown["chain"] = _unreleased(before, first)
    content, landed = files[commit], details[commit]
    changes = history.changes(folder, released.trunk.tip, released.name) if subject.version else ()
    return Lineage(
        asked=clean(asked),
        kind=subject.kind,
        trunk=released.trunk.ref,
        notes=subject.notes,
        prediction=subject.prediction,
        chain=chain,
        commit=Made(
            landed.hash,
            clean(landed.author),
            landed.date,
            clean(landed.message.split("\n", 1)[0]),
            where is not None,
            _label(before),
            _label(first),
        ),
        review=review,
        verdict=facts.judged(content),
        declared=facts.declared(content, files[read[-1]] if before else None, _label(before)),
        data=facts.outputs(content, lambda md5: cache.listing(folder, md5)),
        rows=facts.rows(content),
        environment=facts.environment(content),
        runs=tuple(stay for stay in stays.stays(changes, released.dated) if stay.version == _label(subject.version)),
        unknown=unknown,
    )


def _between(released: Releases, version: Version | None, where: str | None) -> tuple[Version | None, Version | None]:
    """Return the version before, and the first that holds what is asked for: by number, else by place on the trunk."""
    if version:
        return max((other for other in released.tags if other < version), default=None), version
    if where is None:
        return None, None
    position = {commit: number for number, commit in enumerate(reversed(released.trunk.line))}
    ours = position[where]
    tagged = sorted((position[tag.commit], other) for other, tag in released.tags.items() if tag.commit in position)
    before = max((other for at, other in tagged if at < ours), default=None)
    return before, next((other for at, other in tagged if at >= ours), None)


def _label(version: Version | None) -> str | None:
    return version.label if version else None


def _unreleased(before: Version | None, first: Version | None) -> str:
    if first is None:
        newest = f"; the newest before it is {before.label}" if before else ""
        return f"is in no version yet{newest}"
    since = f"between {before.label} and" if before else "before"
    return f"is no version itself: {since} {first.label}, which is the first that holds it"


def _version(folder: Path, released: Releases, version: Version) -> Chain:
    tag, announced = released.tags[version], released.announced.get(version)
    digest = announced.bundle if announced else None
    same = tuple(other.label for other in released.digests.get(digest or "", ()) if other != version)
    signer, refused = released.verified(folder, version)
    return Chain(version.tag, clean(tag.tagger), tag.date, digest, signer, refused, same)


def _signed(released: Releases, version: Version | None, chain: Chain | None) -> Reviewed | None:
    """Return the pull request of a version, as its tag names it."""
    announced = released.announced.get(version) if version else None
    review = announced.review if announced else None
    if review is None or chain is None:
        return None
    return Reviewed(review.number, "tag" if chain.refused else "signed", None, review.author, review.approvers)


def reviewed(landed: Commit, released: Releases, forge: Forge | None) -> tuple[Reviewed | None, str | None]:
    """Return the pull request that brought a commit of the trunk, and what is not known of it: who approved, or all."""
    number = messages.landed(landed.hash, landed.message).number
    named = Reviewed(number, "message") if number else None
    if forge is None:
        return named, f"author and approval are not known here; {ASK}"
    try:
        merged = forge.merged(landed.hash, released.branch)
    except OutsideError as error:
        return named, f"the forge could not be asked: {clean(str(error))}"
    if merged is None:
        return None, NONE
    people = (clean(merged.author), tuple(map(clean, merged.approvers)), clean(merged.merged_by))
    return Reviewed(merged.number, "forge", clean(merged.url), *people), None
