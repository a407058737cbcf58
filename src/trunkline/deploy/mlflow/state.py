"""What MLflow's registry has of a model, and what is registered of a release."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trunkline.conf.versions import Version

VERSION, DIGEST, COMMIT, VERDICT = (f"trunkline.{name}" for name in ("version", "digest", "commit", "verdict"))
CHAMPION = "champion"


@dataclass(frozen=True)
class Release:
    """A version that may run: its bundle's digest, its commit, and the verdict of its gates.

    `review` is the pull request that brought its commit, on one line, if the forge reported one at the release;
    `provenance` is what was signed then, with the signature.
    """

    version: Version
    digest: str
    commit: str
    verdict: str
    review: str | None = None
    provenance: str = field(default="", repr=False)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of its version and of its run in MLflow that are kept as they are here."""
        return {VERSION: self.version.label, DIGEST: self.digest, COMMIT: self.commit, VERDICT: self.verdict}


@dataclass(frozen=True)
class MlflowVersion:
    """A version in MLflow: its own number, its tags, its stage, which MLflow has deprecated, and its run."""

    number: str
    tags: Mapping[str, str]
    stage: str = "None"
    run: str | None = None


@dataclass(frozen=True)
class Registered:
    """What MLflow has of a model: its versions by number, and the number that each alias points to."""

    entries: tuple[MlflowVersion, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def find(self, version: str, digest: str) -> MlflowVersion | None:
        """Return the entry of a released version, the lowest number if there are several; None if there is none."""
        wanted = {VERSION: version, DIGEST: digest}
        return next((entry for entry in self.entries if wanted.items() <= entry.tags.items()), None)
