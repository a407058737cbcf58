"""The chain behind a prediction, link by link: what each is, or why it is not known here and how to know it.

Pure: it is given what git, the tag, the log and the forge say. A broken link is shown, never left out.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trunkline.pipeline.reports import Verdict
from trunkline.serve.log import Prediction

Kind = Literal["version", "digest", "commit", "request"]
# signed: the forge reported it at the release, and the tag's provenance signs it. tag: only a refused tag says so.
# forge: asked now. message: a commit's message names the number, and nobody has confirmed it.
Source = Literal["signed", "tag", "forge", "message"]


@dataclass(frozen=True)
class Reviewed:
    """A pull request; who wrote, approved and merged it is None where it is not known."""

    number: int
    source: Source
    url: str | None = None
    author: str | None = None
    approvers: tuple[str, ...] | None = None
    merged_by: str | None = None


@dataclass(frozen=True)
class Chain:
    """A version: its tag, who made it when, the bundle that it announces, and whether all that it says is true.

    `refused` says why it is not; `signer` is who signed it, None where that is not believed. `same` are other
    versions of the same bundle.
    """

    version: str
    tagger: str
    date: str
    digest: str | None
    signer: str | None
    refused: str | None
    same: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """A commit, and where it is on the trunk: after which version, and in which first; None where there is none."""

    hash: str
    author: str
    date: str
    subject: str
    on_trunk: bool
    after: str | None
    first_in: str | None


@dataclass(frozen=True)
class Judged:
    """The verdict of a commit, and on what: each rule with its numbers."""

    verdict: Literal["pass", "fail"]
    challenger: str
    champion: str | None
    rules: tuple[Verdict, ...]


@dataclass(frozen=True)
class DeclaredParams:
    """What a commit declared: some keys of params.yaml, and those that differ from the version before.

    `since` is that version. `groups` is the sha256 of each group.
    """

    values: Mapping[str, str]
    groups: Mapping[str, str]
    since: str | None
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Output:
    """Data of a commit: DVC's MD5, how many files and bytes, and each file's MD5 where the cache here has the list."""

    path: str
    md5: str
    count: int | None
    bytes: int | None
    files: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True)
class RowCounts:
    """The windows of the source's rows, and how many rows each has; None where the commit does not say."""

    source: int | None
    train: str | None
    train_rows: int | None
    holdout: str | None
    holdout_rows: int | None


@dataclass(frozen=True)
class Environment:
    """What it was built on: the lock's sha256, the Pythons that are allowed, and versions of what computes."""

    path: str
    sha256: str
    python: str | None
    libraries: Mapping[str, str]


How = Literal["declared", "latest", "shadow", "canary"]


@dataclass(frozen=True)
class Stay:
    """When an environment was declared to run a version; `how` is `latest` where it followed the releases.

    A candidate of a rollout is there as a `shadow`, or as a `canary`, beside what the environment runs.

    `until` is None while it is; times are ISO 8601. `pull_request` and `commit` are of what brought it there: the
    promotion or rollback; None for a release that it followed.
    """

    environment: str
    version: str
    since: str
    until: str | None
    how: How
    commit: str | None
    pull_request: str | None


@dataclass(frozen=True)
class Lineage:
    """All that is known behind what was asked for; None for a link that is not known, which `unknown` then says."""

    asked: str
    kind: Kind
    trunk: str
    notes: tuple[str, ...]
    prediction: Prediction | None
    chain: Chain | None
    commit: Made | None
    review: Reviewed | None
    verdict: Judged | None
    declared: DeclaredParams | None
    data: tuple[Output, ...]
    rows: RowCounts | None
    environment: Environment | None
    runs: tuple[Stay, ...]
    unknown: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Whether nothing of it is refused, and what was asked for leads to a commit."""
        return self.commit is not None and (self.chain is None or self.chain.refused is None)


def content(lineage: Lineage) -> dict[str, Any]:
    """Return a chain as plain content, and whether it holds."""
    return {**asdict(lineage), "holds": lineage.holds}
