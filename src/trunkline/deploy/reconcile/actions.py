"""The single steps that bring an environment in line; each can be repeated."""

from dataclasses import dataclass

from trunkline.deploy.mlflow.state import Release
from trunkline.deploy.reconcile.state import Tried


@dataclass(frozen=True)
class Fetch:
    """Bring a bundle into the store."""

    environment: str
    release: Release

    def __str__(self) -> str:
        return f"fetch the bundle of {self.release.version} ({self.release.digest[:12]})"


@dataclass(frozen=True)
class Register:
    """Make an entry in MLflow's model registry."""

    environment: str
    release: Release

    def __str__(self) -> str:
        return f"register {self.release.version} in MLflow"


@dataclass(frozen=True)
class Tag:
    """Set right what an entry in MLflow says of itself."""

    environment: str
    number: str
    key: str
    value: str

    def __str__(self) -> str:
        return f"tag MLflow's version {self.number}: {self.key} = {self.value}"


@dataclass(frozen=True)
class Alias:
    """Point an alias of MLflow at a release."""

    environment: str
    alias: str
    release: Release

    def __str__(self) -> str:
        return f"point the alias {self.alias} of MLflow at {self.release.version}"


@dataclass(frozen=True)
class Unalias:
    """Take an alias of MLflow away."""

    environment: str
    alias: str

    def __str__(self) -> str:
        return f"remove the alias {self.alias} from MLflow"


@dataclass(frozen=True)
class Note:
    """Remember that MLflow has what this declaration asks for, so that a later difference is somebody's change."""

    environment: str
    label: str | None

    def __str__(self) -> str:
        return f"note that MLflow has {self.label} for {self.environment}"


@dataclass(frozen=True)
class Deliver:
    """Tell the servers of an environment what to serve, and which candidate to try beside it."""

    environment: str
    release: Release
    tried: Tried | None = None

    def __str__(self) -> str:
        beside = f", with {self.tried.version} as its {self.tried.kind}" if self.tried else ""
        return f"deliver {self.release.version} to {self.environment}{beside}"


@dataclass(frozen=True)
class Withdraw:
    """Take away what is delivered to an environment."""

    environment: str

    def __str__(self) -> str:
        return f"withdraw what is delivered to {self.environment}"


@dataclass(frozen=True)
class Render:
    """Write a manifest, or take it away."""

    environment: str
    name: str
    text: str | None

    def __str__(self) -> str:
        return f"{'remove' if self.text is None else 'write'} the manifest {self.name} of {self.environment}"


InMlflow = Register | Tag | Alias | Unalias | Note
InStore = Fetch | Deliver | Withdraw | Render
Action = InMlflow | InStore
IN_MLFLOW = (Register, Tag, Alias, Unalias, Note)
