"""What every environment is to run, and what it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trunkline.conf.deploy import ClientTls
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
class Wanted:
    """What an environment is to run; `declared` is what the registry file says, `version` what that is now.

    `release` is the version if it may run; `tls` is what its endpoints are shown; `manifests` are the rendered ones by
    name. With a trouble, nothing is done
    for it: what it runs keeps running.
    """

    environment: str
    declared: str
    version: Version | None = None
    release: Release | None = None
    trouble: Trouble | None = None
    endpoints: tuple[str, ...] = ()
    tls: ClientTls | None = None
    manifests: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Version that it is to run, such as v3, or null."""
        return self.version.label if self.version else NOTHING


@dataclass(frozen=True)
class Reported:
    """What an endpoint says that it serves, or a pointer what was delivered, with what it carries for the server."""

    name: str
    version: str
    digest: str
    commit: str | None = None
    provenance: str = field(default="", repr=False)


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
class Outcome:
    """How an environment is, why, and the exit code that it means.

    `version` is what it is to run and `actual` what is delivered to it, such as v3, or null.
    """

    environment: str
    declared: str
    version: str
    actual: str
    state: State
    why: tuple[str, ...]
    code: int
