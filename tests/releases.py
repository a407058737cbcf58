"""One small project with releases: real git and real signatures, but no pipeline runs.

Its commits and tags have the same hashes wherever it is made: fixed keys, a fixed identity, an hour for every step.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests import bundles
from tests.rig.repository import git
from trunkline.adapters.git import repository
from trunkline.bundle import manifest
from trunkline.conf.versions import Version
from trunkline.deploy.mlflow.state import Release
from trunkline.release import message as release_message
from trunkline.release import provenance, signing
from trunkline.release.provenance import Announced, Facts, ReleaseRun, ReviewFacts

NAME = "flight-delay"
REGISTRY = "models/registry.yaml"
START = datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=1)))
REQUEST = {"delay": 5.0, "hour": 3, "holiday": True, "engines": 2, "origin": "EWR", "dest": "ORD", "kind": "arrival"}
RAW = "5b7d" * 8
DATA = {"data/raw": RAW, "data/valid": "ab" * 16, "data/features": "cd" * 16}
WINDOW = {"rows": 20, "unlabelled": 0, "label_not_yet_known": 0, "base_rate": 0.3}


def key(name: str) -> Ed25519PrivateKey:
    """Return the key of a signer of this name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def private(name: str = "release") -> str:
    """Return the private key of a signer as a file has it."""
    return key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def signers(name: str = "release") -> dict[str, Any]:
    """Return what conf/deploy declares of a signer."""
    public = key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {name: {"key": public.decode()}}


RULES: dict[str, dict[str, Any]] = {
    "ranks": {"kind": "threshold", "metric": "roc_auc", "minimum": 0.7},
    "advised": {"kind": "threshold", "metric": "roc_auc", "minimum": 0.9, "advisory": True},
    "as_fast": {"kind": "operational", "measure": "latency_ratio", "maximum": 2.0},
}
PARAMS = {
    "name": NAME,
    "seed": 7,
    "model": {"_target_": "sklearn.ensemble.HistGradientBoostingClassifier", "max_iter": 100},
    "data": {"window": {"train": "2013-01..2013-06", "holdout": "2013-07"}},
    "bundle": {"card": {"intended_use": "Tell who plans gates which flights will be late."}},
    "evaluation": {"metrics": ["roc_auc"]},
    "gates": {"rules": RULES},
    "deploy": {
        "signers": signers(),
        "environments": {"staging": {"merge": "automatic"}, "production": {"merge": "approval"}},
    },
}
FILES = {
    "params.yaml": PARAMS,
    "pyproject.toml": '[project]\nrequires-python = ">=3.11,<3.14"\n',
    "locks/pipeline.txt": "numpy==2.4.0 \\\n    --hash=sha256:00\nscikit-learn==1.9.1\ntqdm==4.67\n",
    ".gitignore": ".dvc/*\n!.dvc/config\n",
}


def registry(name: str = NAME, **environments: str | None) -> str:
    """Return the text of the registry file, which people have written: it has comments."""
    text = yaml.safe_dump(environments, default_flow_style=True, sort_keys=False).strip()
    return f"# Which version of the model each environment is to run.\n{name}: {text}  # two of them\n"


@dataclass
class Project:
    """A repository, which may be a clone of `origin`, of a model called `name`; `hours` counts its steps.

    With a `store`, the folder that is DVC's remote, every build puts a bundle there; without, it only has a digest.
    """

    root: Path
    name: str = NAME
    store: Path | None = None
    origin: Path | None = None
    hours: int = 0

    def create(self) -> Self:
        """Make the repository, with the files of a project that has not run, which are not committed yet."""
        self.root.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        if self.origin:
            self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.origin))
            self.git("remote", "add", "origin", str(self.origin))
        if self.store:
            self.write(".dvc/config", f"[core]\nremote = store\n['remote \"store\"']\nurl = {self.store}\n")
        for path, content in FILES.items():
            self.write(path, content)
        return self.params(name=self.name).write(REGISTRY, registry(self.name, staging=None, production=None))

    def clone(self, root: Path, *options: str) -> Self:
        """Clone the origin, or where there is none the repository itself."""
        self.git("clone", "--quiet", *options, str(self.origin or self.root), str(root))
        return replace(self, root=root)

    def git(self, *arguments: str, who: str = "Ada", stdin: str | None = None) -> str:
        """Run git as somebody, at this project's time."""
        date = (START + timedelta(hours=self.hours)).isoformat()
        person = {"NAME": who, "EMAIL": f"{who.lower()}@example.org", "DATE": date}
        variables = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
        return git(self.root, *arguments, stdin=stdin, **variables)

    # The working tree

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return (self.root / path).read_text(encoding="utf-8")

    def write(self, path: str, content: Any) -> Self:
        """Write a file: a text as it is, anything else in the format of the file's name."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        dump = yaml.safe_dump if file.suffix in (".yaml", ".lock") else json.dumps
        file.write_text(content if isinstance(content, str) else dump(content), encoding="utf-8")
        return self

    def params(self, **values: Any) -> Self:
        """Change keys of params.yaml, named by their path with __ for the dots."""
        content = yaml.safe_load(self.read("params.yaml"))
        for path, value in values.items():
            *groups, name = path.split("__")
            group = content
            for each in groups:
                group = group[each]
            group[name] = value
        return self.write("params.yaml", content)

    def declare(self, **environments: str | None) -> Self:
        """Change what environments are to run."""
        current = yaml.safe_load(self.read(REGISTRY))[self.name]
        return self.write(REGISTRY, registry(self.name, **current | environments))

    def build(self, roc_auc: float = 0.76, excess: float = 0.0, bundle: Path | None = None) -> Self:
        """Write what the pipeline would leave.

        It is of a bundle of a test's own, or of one whose golden row expects a score that is `excess` too high.
        """
        card = f"# Sums: {yaml.safe_load(self.read('params.yaml'))['model']}, {roc_auc}\n"
        sha256 = hashlib.sha256(card.encode()).hexdigest()
        digest, pushed = sha256, f"{sha256[:32]}.dir"
        if self.store:
            digest, pushed = remote_folder(self.store, bundle) if bundle else remote_bundle(self.store, card, excess)
        interval = [round(roc_auc - 0.01, 4), round(roc_auc + 0.01, 4)]
        verdicts = [verdict(rule, roc_auc, interval) for rule in ("ranks", "advised")]
        whole = {"n": 20, "metrics": {"roc_auc": {"value": roc_auc, "interval": interval}}}
        windows = {"train": WINDOW, "holdout": WINDOW}
        reports: dict[str, Any] = {
            "bundle": {"digest": digest, "runtime": "onnx", "reason": None, "parity": None, "bytes": 1284313},
            "dataset": {"source_rows": 99, "unlabelled": 0, "features": {}, "windows": windows},
            "gates": {"verdict": verdicts[0]["verdict"], "challenger": digest, "champion": None, "gates": verdicts},
            "metrics": {"holdout": {"roc_auc": roc_auc, "n": 20, "log_loss": None}},
            "slices": {"all": {"all": whole}},
            "validation": {},
        }
        for name, content in reports.items():
            self.write(f"reports/{name}.json", content)
        size = {"hash": "md5", "nfiles": 3, "size": 5306510}
        data: list[dict[str, Any]] = [{"path": path, "md5": f"{md5}.dir"} | size for path, md5 in DATA.items()]
        outs = {"validate": data, "bundle": [{"path": "models/bundle", "md5": pushed, "hash": "md5"}]}
        stages = {name: {"cmd": "true", "outs": [out["path"] for out in outs[name]]} for name in outs}
        lock = {name: {"cmd": "true", "outs": outs[name]} for name in outs}
        return self.write("dvc.yaml", {"stages": stages}).write("dvc.lock", {"schema": "2.0", "stages": lock})

    # What is committed

    def commit(self, title: str = "A change", who: str = "Ada") -> str:
        """Commit the working tree on the branch."""
        self.hours += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={title}", who=who)
        return self.git("rev-parse", "HEAD")

    def push(self, title: str = "A change") -> None:
        """Commit the working tree on the trunk, and push that to the origin."""
        self.commit(title)
        self.git("push", "--quiet", "origin", "HEAD:main")

    def merge(self, number: int, title: str = "A change", who: str = "Ada") -> None:
        """Commit the working tree on a branch, and merge it as a forge merges a pull request."""
        self.git("checkout", "--quiet", "-b", f"change-{number}")
        self.commit(title, who)
        self.git("checkout", "--quiet", "main")
        self.hours += 1
        message = f"Merge pull request #{number} from org/change-{number}\n\n{title}"
        self.git("merge", "--quiet", "--no-ff", f"--message={message}", f"change-{number}", who="Forge")

    def release(self, review: ReviewFacts | None = None, signer: str = "release", number: int | None = None) -> None:
        """Tag what is checked out as the next version, or as that of a number, signed as `trunkline release` does."""
        self.hours += 1
        commit, tags = self.git("rev-parse", "HEAD"), self.git("tag", "--list", f"{self.name}@v*").split()
        version = Version(self.name, number or len(tags) + 1)
        files = repository.files_at(self.root, [commit], provenance.READ)[commit]
        facts = provenance.facts_of(files, commit, version)
        signed = signing.sign(provenance.encode(facts, ReleaseRun(review=review)), {signing.KEY: private(signer)})
        announced = Announced(version, facts.digest, facts.hashes["reports/gates.json"], review, signed)
        self.tag(version.tag, release_message.message(announced))

    def tag(self, name: str, message: str, commit: str = "HEAD") -> None:
        """Put an annotated tag on a commit, wherever it was before."""
        options = ("--annotate", "--force", "--cleanup=verbatim", "--file=-")
        self.git("tag", *options, name, commit, who="Releaser", stdin=message)
        if self.origin:
            self.git("push", "--quiet", "--force", "origin", f"refs/tags/{name}")

    def message(self, name: str) -> str:
        """Return the message of a tag."""
        return self.git("for-each-ref", "--format=%(contents)", f"refs/tags/{name}") + "\n"

    def digest(self, number: int) -> str:
        """Return the digest of a version's bundle."""
        return str(json.loads(self.git("show", f"{self.name}@v{number}:reports/bundle.json"))["digest"])


def released(digest: str, number: int = 1, name: str = NAME, signer: str = "release", **changed: Any) -> Release:
    """Return a version of a bundle as `trusted` does, with a signed provenance; `changed` replaces facts in that."""
    version, commit = Version(name, number), "0" * 40
    hashes = {path.as_posix(): "1" * 64 for path in provenance.READ}
    facts = replace(Facts(version, digest, commit, "pass", hashes, DATA), **changed)
    signed = signing.sign(provenance.encode(facts, ReleaseRun()), {signing.KEY: private(signer)})
    return Release(version, digest, commit, "pass", provenance=signed)


def declare_trust(project: Path, name: str = NAME, signer: str = "release", **served: Any) -> Path:
    """Write the params.yaml of a server that believes a signer, and serves as declared; return its folder."""
    deploy = {"signers": signers(signer), "environments": {"production": {}}}
    packaging = {"tolerance": 1e-9, "card": {"intended_use": "to add up numbers"}}
    project.mkdir(parents=True, exist_ok=True)
    content = {"name": name, "bundle": packaging, "deploy": deploy, "serving": {"bind": "127.0.0.1:0"} | served}
    (project / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return project


def verdict(rule: str, roc_auc: float, interval: list[float]) -> dict[str, Any]:
    """Return what became of a rule, as reports/gates.json has it."""
    limit, advisory = RULES[rule]["minimum"], RULES[rule].get("advisory", False)
    passed = interval[0] >= limit
    reason = f"roc_auc is {roc_auc} ({interval[0]} to {interval[1]}), {'within its limits' if passed else 'too low'}"
    outcome = {"id": rule, "kind": "threshold", "blocking": not advisory, "verdict": "pass" if passed else "fail"}
    numbers = {"observed": roc_auc, "threshold": limit, "interval": interval}
    return outcome | {"reason": reason, "metric": "roc_auc"} | numbers


def remote_bundle(store: Path, card: str, excess: float) -> tuple[str, str]:
    """Put a bundle with this card into DVC's remote; return its digest and its hash there."""
    with TemporaryDirectory() as temporary:
        folder = bundles.make(Path(temporary) / "bundle")
        golden = {"request": REQUEST, "score": bundles.expected(bundles.INPUTS, REQUEST) + excess}
        (folder / "golden.json").write_text(json.dumps([golden]))
        (folder / "card.md").write_text(card)
        bundles.seal(folder)
        return remote_folder(store, folder)


def remote_folder(store: Path, folder: Path) -> tuple[str, str]:
    """Put a bundle into DVC's remote, as `dvc push` does; return its digest and its hash there."""

    def put(content: bytes, suffix: str = "") -> str:
        name = hashlib.md5(content).hexdigest() + suffix
        path = store / "files/md5" / name[:2] / name[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name

    entries = [{"md5": put(path.read_bytes()), "relpath": path.name} for path in sorted(folder.iterdir())]
    return manifest.digest(folder), put(json.dumps(entries).encode(), ".dir")


def history(folder: Path) -> Project:
    """Make a project with three versions: v1 and then v2 were promoted to production; staging follows the newest."""
    project = Project(folder / "project", store=folder / "store").create()
    project.declare(staging="latest").commit("A project")
    project.build(0.74).commit()
    project.release()
    project.declare(production="v1").merge(2, "Promote flight-delay v1 to production")
    project.params(seed=8).commit("Another seed (#3)")
    project.build(0.76).commit()
    project.release()
    project.declare(production="v2").merge(4, "Promote flight-delay v2 to production")
    project.params(data__window__train="2013-02..2013-06").merge(5, "A @window | `<b>` of its own")
    project.build(0.77).commit()
    project.release()
    return project
