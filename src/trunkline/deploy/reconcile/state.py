"""What every environment is to run, and what it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from trunkline.conf.deploy import ClientTls
from trunkline.conf.registry import Kind
from trunkline.conf.versions import Version
from trunkline.deploy.mlflow.state import Registered, Release

NOTHING = "null"  # the version of an environment that is to run none

# progressing: something is still to be done, or an endpoint does not report yet what was delivered (one that has loaded
# nothing: for a while only). degraded: something failed, cannot be asked, is refused, or differs and is only reported.
State = Literal["in-sync", "progressing", "degraded"]


@dataclass(frozen=True)
class Trouble:
    """Why something is missing or does not answer, in one line, and the exit code that it means."""

    reason: str
    code: int


@dataclass(frozen=True)
class LoadedNothing(Trouble):
    """An endpoint that answers, but serves nothing: no trouble while it may still be loading what was delivered."""


@dataclass(frozen=True)
class Tried:
    """The candidate of an environment's rollout: `share` in percent, `key` the columns whose values decide the arm.

    `step` is where conf/deploy has it, from 1 on, and `steps` how many there are; None for a share of no step.
    `release` is the version if it may run; with a trouble it is not tried, and what the environment runs stays.
    """

    kind: Kind
    version: Version
    share: float = 100.0
    key: tuple[str, ...] = ()
    step: int | None = None
    steps: int = 0
    release: Release | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Wanted:
    """What an environment is to run; `declared` is what the registry file says, `version` what that is now.

    `release` is the version if it may run, `candidate` what is tried beside it, `held` are versions such as v3 that
    were taken back; `tls` is what its endpoints are shown; `manifests` are the rendered ones by name. With a trouble,
    nothing is done for it: what it runs keeps running.
    """

    environment: str
    declared: str
    version: Version | None = None
    release: Release | None = None
    trouble: Trouble | None = None
    candidate: Tried | None = None
    held: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    tls: ClientTls | None = None
    manifests: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Version that it is to run, such as v3, or null."""
        return self.version.label if self.version else NOTHING

    @property
    def releases(self) -> tuple[Release, ...]:
        """What it is to run and to try, as far as that may run."""
        both = (self.release, self.candidate.release if self.candidate else None)
        return tuple(filter(None, both))


@dataclass(frozen=True)
class ReportedRollout:
    """What a pointer says of a rollout."""

    kind: Kind
    share: float
    key: tuple[str, ...]
    candidate: "Reported"


@dataclass(frozen=True)
class Reported:
    """What an endpoint says that it serves, or a pointer what was delivered, with what it carries for the server."""

    name: str
    version: str
    digest: str
    commit: str | None = None
    provenance: str = field(default="", repr=False)
    rollout: ReportedRollout | None = None

    @property
    def arms(self) -> tuple["Arm", ...]:
        """Its version, and the candidate that it names."""
        tried = self.rollout
        if tried is None:
            return (Arm("current", self.version, 100.0),)
        left = 100.0 - tried.share if tried.kind == "canary" else 100.0
        return (Arm("current", self.version, left), Arm(tried.kind, tried.candidate.version, tried.share))

    @classmethod
    def of(cls, release: Release, tried: Tried | None = None) -> Self:
        """Return what a pointer at a release says, and at its candidate, unless that may not run."""
        rollout = None
        if tried is not None and tried.release is not None:
            rollout = ReportedRollout(tried.kind, tried.share, tried.key, cls.of(tried.release))
        version = release.version
        return cls(version.name, version.label, release.digest, release.commit, release.provenance, rollout)


@dataclass(frozen=True)
class Actual:
    """What there is: in MLflow, in the store, and at the endpoints.

    `bundles` are the digests of the whole bundles of the store, `pointers` and `manifests` what is delivered to an
    environment, `noted` the version of each that MLflow was brought in line with; `endpoints` goes by address, and
    `recent` are the environments whose servers may still be loading what was delivered.
    """

    registered: Registered | Trouble
    bundles: frozenset[str] = frozenset()
    pointers: Mapping[str, Reported] = field(default_factory=dict)
    noted: Mapping[str, str] = field(default_factory=dict)
    manifests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    endpoints: Mapping[str, Reported | Trouble] = field(default_factory=dict)
    recent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Arm:
    """A version that is delivered, and its share in percent: of what it answers, or as a shadow, of what it scores."""

    name: Literal["current", "shadow", "canary"]
    version: str
    share: float


@dataclass(frozen=True)
class Outcome:
    """How an environment is, why, and the exit code that it means.

    `version` is what it is to run and `actual` what is delivered to it, such as v3, or null; `arms` are that as well,
    with a candidate that is tried beside it.
    """

    environment: str
    declared: str
    version: str
    actual: str
    state: State
    why: tuple[str, ...]
    code: int
    arms: tuple[Arm, ...] = ()
