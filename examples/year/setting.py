"""Where the year happens: a clone of this repository with a remote, a key and a store of its own, and its clock.

Programs are told the simulated time as git's, so that commits, merges and tags are of the day on which they happened.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from examples.year.plan import EVERY, FIRST, HOLDOUT, START
from trunkline.core import files
from trunkline.core.errors import OutsideError
from trunkline.core.values import Window, duration_text

SOURCE = Path(__file__).parent.parent.parent
OUTSIDE = (
    *("GITHUB_REPOSITORY", "GITHUB_TOKEN", "CI_API_V4_URL", "CI_PROJECT_ID", "GITLAB_TOKEN", "TRUNKLINE_SIGNING_KEY"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "TRUNKLINE_STORE"),
)
LOG = {"to": "log", "interval": "1s", "queue": 100000}
# In fair weather the visibility stands at 10 miles for up to three weeks; no station's temperature ever stands still.
RULES = {"frozen": {"subject": "temperature"}}
RETRAIN = {"every": duration_text(EVERY), "window": "grow"}
ONLINE = {"store": "sqlite:///online.db", "views": {}}


@dataclass
class World:
    """A folder with the project `flights`, its remote `origin.git`, the `store` of DVC, and the key of who releases."""

    root: Path
    project: Path = field(init=False)

    def __post_init__(self) -> None:
        self.project = self.root / "flights"

    def run(self, *command: str, day: date, codes: tuple[int, ...] = (0,)) -> str:
        """Run a program in the project at noon of a day, New York's; return what it prints.

        Raises OutsideError with the end of what it said where its exit code is none of `codes`.
        """
        done = subprocess.run(  # noqa: S603  the programs of this environment
            command, cwd=self.project, env=self.environment(day), capture_output=True, text=True, check=False
        )
        if done.returncode not in codes:
            said = (done.stdout + done.stderr).strip()[-2000:]
            raise OutsideError(f"{' '.join(command)}: exit code {done.returncode} on {day}\n{said}")
        return done.stdout

    def environment(self, day: date) -> dict[str, str]:
        """Return the environment of programs: no forge, no server, the key, and git's time."""
        kept = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        moment = datetime.combine(day, time(12)).isoformat() + "-04:00"
        people = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": moment}
        git = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in people.items()}
        own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        own |= {"TRUNKLINE_SIGNING_KEY": str(self.root / "key.pem"), "DVC_SITE_CACHE_DIR": str(self.root / "dvc")}
        return kept | git | own

    def merge(self, branch: str, title: str, day: date) -> None:
        """Merge a branch as a forge merges a pull request, and push the trunk."""
        self.run("git", "checkout", "--quiet", "main", day=day)
        self.run("git", "merge", "--quiet", "--no-ff", f"--message={title}", branch, day=day)
        self.run("git", "push", "--quiet", "origin", "main", day=day)

    def commit(self, title: str, day: date) -> None:
        """Commit the working tree, whatever is in it."""
        self.run("git", "add", "--all", day=day)
        self.run("git", "commit", "--quiet", f"--message={title}", day=day)


def create(root: Path, day: date) -> World:
    """Make the world as of the day before production: the first window is declared, nothing has run."""
    root.mkdir(parents=True, exist_ok=True)
    world = World(root)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (root / "key.pem").write_bytes(private)
    (root / "key.pem").chmod(0o600)
    _clone(world, day)
    _declare(world.project, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    with (world.project / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write("/days/\n/log/\n/online.db*\n")
    world.run("trunkline", "compose", day=day)
    world.commit("The first window, who signs, and what is logged", day)
    return world


def _clone(world: World, day: date) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(("git", *arguments), cwd=world.root, env=world.environment(day), check=True)  # noqa: S603, S607

    git("clone", "--quiet", "--no-tags", str(SOURCE), "flights")
    git("init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    world.run("git", "checkout", "--quiet", "-B", "main", day=day)
    world.run("git", "remote", "set-url", "origin", "../origin.git", day=day)
    world.run("dvc", "remote", "add", "--quiet", "--default", "--force", "store", str(world.root / "store"), day=day)


def _declare(project: Path, public: str) -> None:
    """Write what the year declares otherwise than the repository does."""
    train, holdout = Window(start=FIRST, end=START - HOLDOUT), Window(start=START - HOLDOUT, end=START)
    _edit(project / "conf/data/flights.yaml", window={"train": str(train), "holdout": str(holdout)})
    _edit(project / "conf/deploy/flights.yaml", signers={"ada": {"key": public}})
    _edit(project / "conf/serving/flights.yaml", log=LOG, online=ONLINE)
    monitoring = project / "conf/monitoring/flights.yaml"
    _edit(monitoring, rules=yaml.safe_load(monitoring.read_text(encoding="utf-8"))["rules"] | RULES, retrain=RETRAIN)


def _edit(path: Path, **values: Any) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8")) | values
    files.write_text(path, yaml.safe_dump(content, sort_keys=False))
