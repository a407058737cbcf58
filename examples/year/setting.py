"""Where the year happens: a copy of this repository, with a remote, a key and a store of its own, and its clock.

Programs are told the simulated time as git's, so that commits, merges and tags are of the day on which they happened.
"""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from examples.year.plan import HOLDOUT, Story
from trunkline.cli import trunkline
from trunkline.cli.commands import exit_code
from trunkline.core import files
from trunkline.core.errors import OutsideError
from trunkline.core.values import Window, duration_text, midnight

SOURCE = Path(__file__).parent.parent.parent
OUTSIDE = (
    *("GITHUB_REPOSITORY", "GITHUB_TOKEN", "CI_API_V4_URL", "CI_PROJECT_ID", "GITLAB_TOKEN", "TRUNKLINE_SIGNING_KEY"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "TRUNKLINE_STORE"),
)
ZONE = "America/New_York"
DAY = timedelta(days=1)
READ = "14d"  # of the log, by the monitor: all that its rules ask for, and less than conf/monitoring reads
# The pressure is often missing for real: it would forbid a retraining on days on which nothing is broken.
RULES = {"missing": {"apart_from": ["pressure"]}}
# Two weeks show little for certain: not that a version whose AUC is 0.74 has 0.70, nor that one which is better by 0.01
# is at most 0.02 worse at each airport. What is certain is asked of all rows, beside the version that runs.
AS_THEY_ARE = ("ranks", "calibrated", "every_airport")
AIRPORTS_MARGIN = 0.03
# Two fits with other seeds are for a rule that only advises, and take a third of a retraining's time.
NOT_ASKED = "above_noise"
# A shadow, a canary, all: a day each. How fast it answers is not judged, since this machine does other things as well.
# What has learnt from another season answers otherwise, which is what it is for: bounds are those of a broken one.
ROLLOUT: dict[str, Any] = {
    "key": ["carrier", "flight"],
    "steps": [
        {"shadow": 100, "for": "24h", "requests": 500, "change": "commit"},
        {"canary": 25, "for": "24h", "requests": 100, "change": "commit"},
    ],
    "rules": {"latency_p50": None, "latency_p99": None, "mean": 1.0, "distance": 0.5, "disagreement": 0.4},
}
SERVED = {"to": "log", "interval": "1s", "queue": 100000}  # conf/serving: the log of the server
LOG = "days"  # of the project: the log at the times of its predictions
ONLINE = {"store": "sqlite:///online.db", "views": {}}


@dataclass
class World:
    """A folder with the project `flights`, its remote `origin.git`, the `store` of DVC, and the key of who releases."""

    root: Path
    project: Path = field(init=False)

    def __post_init__(self) -> None:
        self.project = self.root / "flights"

    def run(self, *command: str, day: date, codes: tuple[int, ...] = (0,), within: Path | None = None) -> str:
        """Run a program in the project, or `within` another folder, at the end of a day; return what it prints.

        Raises OutsideError with the end of what it said where its exit code is none of `codes`.
        """
        done = subprocess.run(  # noqa: S603  the programs of this environment
            command,
            cwd=within or self.project,
            env=self.environment(day),
            capture_output=True,
            text=True,
            check=False,
        )
        return _heard(command, day, done.returncode, codes, done.stdout, done.stderr)

    def verb(self, *words: str, day: date, codes: tuple[int, ...] = (0,)) -> str:
        """Do what `run` does with a verb of trunkline, in this process, which has its libraries already."""
        out, err = io.StringIO(), io.StringIO()
        with chdir(self.project), _environ(self.environment(day)), redirect_stdout(out), redirect_stderr(err):
            code = exit_code(lambda: trunkline.main([*words], prog_name="trunkline", standalone_mode=False))
        return _heard(("trunkline", *words), day, code, codes, out.getvalue(), err.getvalue())

    def environment(self, day: date) -> dict[str, str]:
        """Return the environment of programs: no forge, no server, the key, and git's time."""
        kept = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        moment = (end(day) - timedelta(minutes=1)).isoformat()
        people = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": moment}
        git = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in people.items()}
        own = {"PATH": _path(os.environ["PATH"])}
        own |= {"TRUNKLINE_SIGNING_KEY": str(self.root / "key.pem"), "DVC_SITE_CACHE_DIR": str(self.root / "dvc")}
        return kept | git | own

    def merge(self, branch: str, title: str, day: date) -> None:
        """Merge a branch as a forge merges a pull request, and push the trunk."""
        self.run("git", "checkout", "--quiet", "main", day=day)
        self.run("git", "merge", "--quiet", "--no-ff", f"--message={title}", branch, day=day)
        self.run("git", "push", "--quiet", "origin", "main", day=day)

    def unlock(self) -> None:
        """Remove the locks that a git which was killed has left; nothing else is at work here."""
        for repository in (self.project / ".git", self.root / "origin.git"):
            for path in repository.rglob("*.lock"):
                path.unlink(missing_ok=True)

    def commit(self, title: str, day: date) -> None:
        """Commit the working tree, whatever is in it."""
        self.run("git", "add", "--all", day=day)
        self.run("git", "commit", "--quiet", f"--message={title}", day=day)


def _heard(command: Sequence[str], day: date, code: int, codes: tuple[int, ...], out: str, err: str) -> str:  # noqa: PLR0913, PLR0917  of one run
    if code not in codes:
        said = (out + err).strip()[-2000:]
        raise OutsideError(f"{' '.join(command)}: exit code {code} on {day}\n{said}")
    return out


@contextmanager
def _environ(values: Mapping[str, str]) -> Iterator[None]:
    """Have this process in another environment while the block runs."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(values)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def end(day: date) -> datetime:
    """Return the moment (UTC) at which a local day ends."""
    return midnight(day + DAY, ZONE).replace(tzinfo=UTC)


def create(root: Path, story: Story) -> World:
    """Make the world as of the day before production: the first window is declared, nothing has run."""
    day = story.start - DAY
    root.mkdir(parents=True, exist_ok=True)
    world = World(root)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (root / "key.pem").write_bytes(private)
    (root / "key.pem").chmod(0o600)
    _copy(world, day)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    _declare(world.project, public, story)
    if story.small:
        _make_small(world.project / "conf")
    with (world.project / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write("/days/\n/log/\n/online.db*\n")
    world.verb("compose", day=day)
    world.commit("The first window, who signs, and what is logged", day)
    return world


def _copy(world: World, day: date) -> None:
    """Make the project of the files of this repository, with a history of its own, and its remote."""
    listed = _git(SOURCE, world, day, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(lambda each: (SOURCE / each).is_file(), listed.split("\0")):
        (world.project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(SOURCE / name, world.project / name)
    _git(world.root, world, day, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    _git(world.root, world, day, "init", "--quiet", "--initial-branch=main", "flights")
    world.run("git", "remote", "add", "origin", "../origin.git", day=day)
    world.run("dvc", "remote", "add", "--quiet", "--default", "--force", "store", "../store", day=day)
    world.commit("The project", day)


def _git(folder: Path, world: World, day: date, *arguments: str) -> str:
    return world.run("git", *arguments, day=day, within=folder)


def _declare(project: Path, public: str, story: Story) -> None:
    """Write what the year declares otherwise than the repository does."""
    held = story.start - HOLDOUT
    train, holdout = Window(start=story.first, end=held), Window(start=held, end=story.start)
    _edit(project / "conf/data/flights.yaml", window={"train": str(train), "holdout": str(holdout)})
    deploy = project / "conf/deploy/flights.yaml"
    environments = _read(deploy)["environments"]
    environments["production"]["rollout"] = _rollout(story)
    _edit(deploy, signers={"ada": {"key": public}}, environments=environments)
    _edit(project / "conf/serving/flights.yaml", log=SERVED, online=ONLINE)
    retrain = {"every": duration_text(story.every), "window": "grow"}
    monitoring = project / "conf/monitoring/flights.yaml"
    _edit(monitoring, read=READ, retrain=retrain, rules=_read(monitoring)["rules"] | RULES)
    rules = _read(project / "conf/gates/flights.yaml")["rules"]
    rules["no_airport_worse"]["margin"] = AIRPORTS_MARGIN
    for name in AS_THEY_ARE:
        rules[name]["tested"] = "point"
    del rules[NOT_ASKED]
    _edit(project / "conf/gates/flights.yaml", rules=rules, seeds=0)


def _rollout(story: Story) -> dict[str, Any]:
    """Return the rollout of a story: where one flight of a `share` is asked for, so many fewer requests."""
    steps = [step | {"requests": step["requests"] // story.share} for step in ROLLOUT["steps"]]
    return ROLLOUT | {"steps": steps}


def _make_small(conf: Path) -> None:
    """Write what conf/experiment/small.yaml says, but for its windows, which retraining changes in conf/data."""
    defaults = _read(conf / "config.yaml")["defaults"]
    chosen = [{"model": "boosting_small"} if each == {"model": "gbm"} else each for each in defaults]
    _edit(conf / "config.yaml", defaults=chosen)
    _edit(
        conf / "evaluation/binary.yaml",
        interval=_read(conf / "evaluation/binary.yaml")["interval"] | {"resamples": 200},
    )
    rules = _read(conf / "gates/flights.yaml")["rules"]
    rules["worth_it"]["advisory"] = True
    _edit(conf / "gates/flights.yaml", confidence=0.9, resamples=500, rules=rules)


def _path(path: str) -> str:
    """Return a PATH on which the programs of this environment are; where they are on it already, as it is."""
    own = str(Path(sys.executable).parent)
    return path if own in path.split(os.pathsep) else f"{own}{os.pathsep}{path}"


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _edit(path: Path, **values: Any) -> None:
    files.write_text(path, yaml.safe_dump(_read(path) | values, sort_keys=False))
