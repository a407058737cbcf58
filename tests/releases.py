"""A small project with signed releases: real git, a real DVC with a folder as its remote, and real small bundles."""

import copy
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dvc.repo import Repo

from tests import bundles
from tests.rig.repository import git
from trunkline.adapters.git import remote as git_remote
from trunkline.adapters.git import repository
from trunkline.conf.versions import Version
from trunkline.release import message as release_message
from trunkline.release import provenance, signing
from trunkline.release.provenance import Announced, ReleaseRun

ROOT = Path(__file__).parent.parent
REPORTS = json.loads((ROOT / "tests/golden/report/reports.json").read_text(encoding="utf-8"))
NAME = "flight-delay"
REQUEST = {"delay": 5.0, "hour": 3, "holiday": True, "engines": 2, "origin": "EWR", "dest": "ORD", "kind": "arrival"}


def pem(key: Ed25519PrivateKey) -> str:
    """Return a private key as a file has it."""
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode()


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PRIVATE = pem(KEY)
PUBLIC = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)
COMMENT = "# Which version of the model each environment is to run.\n"


@dataclass(frozen=True)
class Project:
    """A clone at `root`, whose origin may be anything, and the folder that is DVC's remote."""

    root: Path
    remote: Path

    @classmethod
    def create(cls, root: Path, remote: Path) -> "Project":
        """Make a project without a version."""
        root.mkdir(parents=True)
        git(root, "init", "--quiet", "--initial-branch=main")
        made = cls(root, remote)
        with Repo.init(str(root)) as repo, repo.config.edit() as config:
            config["core"] |= {"remote": "store", "analytics": False}
            config["remote"] = {"store": {"url": str(remote)}}
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        params["deploy"]["signers"] = {"release": {"key": PUBLIC}}
        judged = {verdict["id"] for verdict in REPORTS["gates"]["gates"]} | {"as_fast"}
        params["gates"]["rules"] = {name: rule for name, rule in params["gates"]["rules"].items() if name in judged}
        made.write("params.yaml", yaml.safe_dump(params))
        made.write("locks/pipeline.txt", "numpy==2.4\n")
        made.write("models/registry.yaml", f"{COMMENT}{NAME}: {{staging: latest, production: null}}  # two of them\n")
        made.commit("A project")
        return made

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return (self.root / path).read_text(encoding="utf-8")

    def commit(self, message: str) -> str:
        """Commit everything."""
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "--message", message)
        return git(self.root, "rev-parse", "HEAD")

    def declare(self, **environments: str) -> None:
        """Change what environments are to run."""
        text = self.read("models/registry.yaml")
        for environment_, version in environments.items():
            before = yaml.safe_load(text)[NAME][environment_] or "null"
            text = text.replace(f"{environment_}: {before}", f"{environment_}: {version}")
        self.write("models/registry.yaml", text)

    def params(self, **changed: Any) -> None:
        """Change keys of params.yaml, named by their path with __ for the dots."""
        content = yaml.safe_load(self.read("params.yaml"))
        for path, value in changed.items():
            *groups, key = path.split("__")
            place = content
            for group in groups:
                place = place[group]
            place[key] = value
        self.write("params.yaml", yaml.safe_dump(content))

    def build(self, roc_auc: float, *, verdict: str = "pass", rows: int = 28301, score: float = 0.0) -> str:
        """Write the results of a run: a bundle of its own, and reports; its golden row expects `score` too much."""
        folder = self.root / "models/bundle"
        shutil.rmtree(folder, ignore_errors=True)
        bundles.make(folder)
        golden = {"request": REQUEST, "score": bundles.expected(bundles.INPUTS, REQUEST) + score}
        (folder / "golden.json").write_text(json.dumps([golden]))
        (folder / "card.md").write_text(f"# Sums: {roc_auc}\n")
        bundles.seal(folder)
        digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
        self._reports(digest, roc_auc, verdict, rows)
        data = {name: hashlib.md5(f"{name} {rows}".encode()).hexdigest() for name in ("raw", "valid", "features")}
        outs = {name: {"outs": [{"path": f"data/{name}", "md5": f"{found}.dir"}]} for name, found in data.items()}
        outs["bundle"] = {"outs": [{"path": "models/bundle", "md5": f"{digest[:32]}.dir"}]}
        self.write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": outs | {"validate": outs["valid"]}}))
        return digest

    def _reports(self, digest: str, roc_auc: float, verdict: str, rows: int) -> None:
        reports = copy.deepcopy(REPORTS)
        reports["gates"] |= {"challenger": digest, "verdict": verdict, "champion": None}
        for gate in reports["gates"]["gates"]:
            if gate["blocking"] and gate["verdict"] == "fail" and verdict == "pass":
                gate["verdict"] = "pass"
        reports["bundle"]["digest"] = digest
        whole = reports["slices"]["all"]["all"]
        whole["n"] = rows
        whole["metrics"]["roc_auc"] = {"value": roc_auc, "interval": [roc_auc - 0.01, roc_auc + 0.01]}
        reports["metrics"] = {"holdout": {"roc_auc": roc_auc, "n": rows}}
        for name, content in reports.items():
            self.write(f"reports/{name}.json", json.dumps(content, indent=1) + "\n")

    def release(self, number: int) -> Version:
        """Push the bundle to the remote, commit, and put the signed tag of a version on the commit."""
        with Repo(str(self.root)) as repo:
            repo.add(str(self.root / "models/bundle"))
            repo.push()
        commit, version = self.commit(f"Results of v{number}"), Version(NAME, number)
        self.tag(version, commit)
        return version

    def tag(self, version: Version, commit: str, key: str = PRIVATE) -> None:
        """Put the signed tag of a version on a commit, as trunkline release does."""
        files = repository.files_at(self.root, [commit], provenance.READ)[commit]
        facts = provenance.facts_of(files, commit, version)
        signed = signing.sign(provenance.encode(facts, ReleaseRun()), {signing.KEY: key})
        verdict = facts.hashes["reports/gates.json"]
        message = release_message.message(Announced(version, facts.digest, verdict, None, signed))
        made = git_remote.annotated(self.root, version.tag, commit, message)
        git(self.root, "update-ref", f"refs/tags/{version.tag}", made)


def history(folder: Path) -> Project:
    """Make a project with three versions: v1 and then v2 were promoted to production; staging follows the newest."""
    made = Project.create(folder / "project", folder / "store")
    made.build(0.74)
    made.release(1)
    made.declare(production="v1")
    made.commit("Merge pull request #2 from acme/promote/production-v1\n\nPromote flight-delay v1 to production")
    made.params(seed=7)
    made.commit("Another seed (#3)")
    made.build(0.76)
    made.release(2)
    made.declare(production="v2")
    made.commit("Merge pull request #4 from acme/promote/production-v2\n\nPromote flight-delay v2 to production")
    made.params(data__window__train="2013-02..2013-06")
    made.commit("Merge pull request #5 from acme/window\n\nA @window | `<b>` of its own")
    made.build(0.77)
    made.release(3)
    return made
