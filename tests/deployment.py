"""A small project with releases: a bare origin, a clone, a DVC remote and real bundles; no pipeline runs."""

import dataclasses
import json
import os
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path

import yaml

from tests import bundles
from trunkline import gitremote, manifest

ENVIRONMENTS = {"staging": {"merge": "automatic"}, "production": {"merge": "approval"}}
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
}  # fmt: skip


def git(folder, *arguments):
    environ = os.environ | IDENTITY
    done = subprocess.run(["git", "-C", folder, *arguments], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def environment(**variables):
    """The environment of a process: no token, and no setting of whoever runs the tests."""
    foreign = ("GIT_", "MLFLOW_", "DVC_", "TRUNKLINE_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return {key: value for key, value in kept.items() if key not in gitremote.TOKENS} | IDENTITY | variables


@dataclasses.dataclass
class Project:
    """A project named `name`; `promotion` is its group of params.yaml, `digests` what each version's bundle has."""

    folder: Path
    name: str
    address: str = "sqlite:///mlflow.db"
    promotion: dict = dataclasses.field(default_factory=lambda: {"environments": ENVIRONMENTS})
    digests: list[str] = dataclasses.field(default_factory=list)

    @property
    def origin(self):
        return self.folder / "origin.git"

    @property
    def work(self):
        return self.folder / "work"

    def create(self):
        from dvc.repo import Repo

        self.folder.mkdir(parents=True, exist_ok=True)
        git(self.folder, "init", "--quiet", "--bare", "--initial-branch=main", self.origin)
        git(self.folder, "clone", "--quiet", self.origin, self.work)
        git(self.work, "checkout", "--quiet", "-B", "main")
        with chdir(self.work):
            Repo.init(".").close()
        (self.work / ".dvc/config").write_text(
            f"[core]\nanalytics = false\nremote = here\n['remote \"here\"']\nurl = {self.folder / 'remote'}\n"
        )
        (self.work / "dvc.yaml").write_text("stages: {bundle: {cmd: 'true', outs: [models/bundle]}}\n")
        (self.work / "models").mkdir()
        (self.work / "reports").mkdir()
        self.configure()
        self.declare(staging="latest", production=None)
        return self

    def configure(self, **promotion):
        """Change conf/promotion on the trunk."""
        self.promotion |= promotion
        tracking = {"uri": self.address, "experiment": "releases"}
        params = {"name": self.name, "tracking": tracking, "promotion": self.promotion}
        (self.work / "params.yaml").write_text(yaml.safe_dump(params))

    def declare(self, message="declare", **environments):
        """Declare environments in one commit on the trunk, and push it."""
        text = yaml.safe_dump({self.name: environments})
        (self.work / "models/registry.yaml").write_text(text)
        self.push(message)

    def push(self, message):
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", message)
        git(self.work, "push", "--quiet", "origin", "main")

    def release(self, verdict="pass"):
        """Release the next version, whose bundle differs from all before; return its label."""
        from dvc.repo import Repo

        number = len(self.digests) + 1
        bundle = self.work / "models/bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        bundles.make(bundle)
        (bundle / "card.md").write_text(f"# Sums {number}\n")
        bundles.seal(bundle, name=self.name)
        self.digests.append(manifest.digest(bundle))
        for report, content in (("bundle", {"digest": self.digests[-1]}), ("gates", {"verdict": verdict})):
            (self.work / f"reports/{report}.json").write_text(json.dumps(content))
        (self.work / "reports/metrics.json").write_text(json.dumps({"holdout": {"rmse": 1.5, "n": 10, "none": None}}))
        with chdir(self.work), Repo() as repo:
            repo.commit("bundle", force=True)
            repo.push()
        self.push(f"release {number} (#{100 + number})")
        self.tag(number)
        return f"v{number}"

    def tag(self, number, force=False):
        tag, message = f"{self.name}@v{number}", f"{self.name} v{number}\n\npull request: #{number} by ada\n"
        git(self.work, "tag", "--annotate", *["--force"] * force, "--message", message, tag)
        git(self.work, "push", "--quiet", *["--force"] * force, "origin", tag)

    def clone(self, name, *options):
        git(self.folder, "clone", "--quiet", *options, self.origin, self.folder / name)
        return self.folder / name
