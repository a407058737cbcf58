"""A small project with releases: a bare origin, a clone, a DVC remote and real bundles; no pipeline runs."""

import copy
import dataclasses
import json
import os
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests import bundles
from trunkline.adapters.git import remote, repository
from trunkline.bundle import manifest
from trunkline.conf.versions import Version
from trunkline.release import message as release_message
from trunkline.release import provenance, signing

KEY = ed25519.Ed25519PrivateKey.generate()
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
OUTS = ("models/bundle", "data/raw", "data/valid", "data/features")
ENVIRONMENTS = {"staging": {"merge": "automatic"}, "production": {"merge": "approval"}}
PROMOTION = {"environments": ENVIRONMENTS, "signers": {"release": {"key": PUBLIC}}}
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
    return {key: value for key, value in kept.items() if key not in remote.TOKENS} | IDENTITY | variables


@dataclasses.dataclass
class Project:
    """A project named `name`; `promotion` is its group of params.yaml, `digests` what each version's bundle has."""

    folder: Path
    name: str
    address: str = "sqlite:///mlflow.db"
    promotion: dict = dataclasses.field(default_factory=lambda: copy.deepcopy(PROMOTION))
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
        (self.work / "dvc.yaml").write_text(f"stages: {{all: {{cmd: 'true', outs: [{', '.join(OUTS)}]}}}}\n")
        for name in ("models", "reports", "locks", "data"):
            (self.work / name).mkdir()
        (self.work / "locks/pipeline.txt").write_text("none==1\n")
        self.configure()
        self.declare(staging="latest", production=None)
        return self

    def configure(self, **promotion):
        """Change conf/deploy; `declare` pushes it."""
        self.promotion |= promotion
        tracking = {"uri": self.address, "experiment": "releases"}
        params = {"name": self.name, "tracking": tracking, "deploy": self.promotion}
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

    def release(self):
        """Release the next version, whose bundle differs from all before; return its label."""
        from dvc.repo import Repo

        number = len(self.digests) + 1
        bundle = self.work / "models/bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        bundles.make(bundle)
        (bundle / "card.md").write_text(f"# Sums {number}\n")
        bundles.seal(bundle)
        self.digests.append(manifest.digest(bundle))
        for name in OUTS[1:]:
            (self.work / name).write_text(name)
        self.report("pass")
        with chdir(self.work), Repo() as repo:
            repo.commit("all", force=True)
            repo.push()
        self.push(f"release {number}")
        self.tag(number)
        return f"v{number}"

    def report(self, verdict):
        gate = {"id": "better", "kind": "better", "blocking": True, "verdict": verdict, "reason": "it is"}
        gates = {"verdict": verdict, "challenger": self.digests[-1], "champion": None, "gates": [gate]}
        holdout = {"rmse": 1.5, "n": 10, "none": None}
        reports = {"bundle": {"digest": self.digests[-1]}, "gates": gates, "metrics": {"holdout": holdout}}
        for report, content in reports.items():
            (self.work / f"reports/{report}.json").write_text(json.dumps(content))

    def tag(self, number, key=PRIVATE, force=False, review=None):
        """Tag what is checked out as `trunkline release` does, but that it asks for no verdict."""
        version, head = Version(self.name, number), git(self.work, "rev-parse", "HEAD")
        files = repository.files_at(self.work, [head], provenance.READ)[head]
        facts, run = provenance.facts_of(files, head, version), provenance.ReleaseRun(review=review)
        signed = signing.sign(provenance.encode(facts, run), {signing.KEY: key})
        verdict = facts.hashes["reports/gates.json"]
        message = release_message.message(provenance.Announced(version, facts.digest, verdict, review, signed))
        made = remote.annotated(self.work, version.tag, head, message)
        git(self.work, "update-ref", f"refs/tags/{version.tag}", made)
        git(self.work, "push", "--quiet", *["--force"] * force, "origin", f"refs/tags/{version.tag}")

    def copy(self, folder, name, address):
        """Return the same releases of a model of another name, which takes no DVC."""
        shutil.copytree(self.folder, folder)
        made = Project(folder, name, address, copy.deepcopy(self.promotion), list(self.digests))
        git(made.work, "remote", "set-url", "origin", made.origin)
        for number in range(1, len(made.digests) + 1):
            git(made.work, "checkout", "--quiet", f"{self.name}@v{number}", "--", ".")
            made.configure()
            config = made.work / ".dvc/config"
            config.write_text(config.read_text().replace(str(self.folder), str(folder)))
            made.push(f"release {number}")
            made.tag(number)
        return made

    def clone(self, name, *options):
        git(self.folder, "clone", "--quiet", *options, self.origin, self.folder / name)
        return self.folder / name
