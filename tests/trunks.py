"""A trunk with signed releases in a few lines: real git, the real provenance and signature; no pipeline, no remote.

Its commits and tags have the same hashes wherever it is made: fixed keys, a fixed identity, an hour for every step.
"""

import hashlib
import json
import os
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from trunkline.conf.versions import Version
from trunkline.release import message as release_message
from trunkline.release import provenance, signing
from trunkline.release.provenance import Announced, ReleaseRun, ReviewFacts

NAME = "flight-delay"
START = datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=1)))
ENVIRONMENTS = {"staging": {"merge": "automatic"}, "production": {"merge": "approval"}}
RAW = "5b7d" * 8
LOCK = "numpy==2.4.0 \\\n    --hash=sha256:00\nscikit-learn==1.9.1\ntqdm==4.67\n"


def key(name):
    """The key of a signer of this name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def private(name):
    return key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public(name):
    return key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def rule(identity, verdict="pass", **more):
    """One line of reports/gates.json."""
    reason = "roc_auc is 0.7649 (0.73 to 0.79), within its limits" if verdict == "pass" else "roc_auc is 0.51"
    given = {"id": identity, "kind": "threshold", "blocking": True, "verdict": verdict, "reason": reason}
    return given | {"metric": "roc_auc", "observed": 0.7649, "threshold": 0.7, "interval": [0.73, 0.79]} | more


class Project:
    """A repository; `hours` counts its steps, `released` its versions."""

    def __init__(self, folder, *, create=True):
        self.folder, self.hours, self.released = Path(folder), 0, 0
        self.signers, self.environments = ("release",), dict(ENVIRONMENTS)
        self.model = {"_target_": "sklearn.ensemble.HistGradientBoostingClassifier", "max_iter": 100}
        self.registry = dict.fromkeys(self.environments)
        if create:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.git("init", "--quiet", "--initial-branch=main")
            self.build()
            self.commit("First run")

    def git(self, *arguments, who="Ada", given=None):
        date = (START + timedelta(hours=self.hours)).isoformat()
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            alone |= {
                f"GIT_{role}_NAME": who,
                f"GIT_{role}_EMAIL": f"{who.lower()}@example.org",
                f"GIT_{role}_DATE": date,
            }
        given = {"input": given, "capture_output": True, "text": True}
        done = subprocess.run(["git", *arguments], cwd=self.folder, env=os.environ | alone, check=False, **given)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, **contents):
        """Write files by paths with two underscores for a slash and one for a dot; a text as it is, None removes."""
        for name, value in contents.items():
            path = self.folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            if value is None:
                path.unlink()
            else:
                made = yaml.safe_dump if path.suffix in (".yaml", ".lock") else json.dumps
                path.write_text(value if isinstance(value, str) else made(value))

    def build(self, gates=None, **model):
        """Write what the pipeline would leave for a model, in the working tree; return its bundle's digest."""
        self.model |= model
        self.digest = hashlib.sha256(json.dumps(self.model).encode()).hexdigest()
        rules = gates or [rule("ranks"), rule("advised", "fail", blocking=False)]
        verdict = "fail" if any(one["blocking"] and one["verdict"] == "fail" for one in rules) else "pass"
        folders = {"data/raw": RAW, "data/valid": "ab" * 16, "data/features": "cd" * 16}
        outs = [{"path": path, "md5": f"{md5}.dir", "nfiles": 3, "size": 5306510} for path, md5 in folders.items()]
        window = {"rows": 20, "unlabelled": 0, "label_not_yet_known": 0, "base_rate": 0.3}
        dataset = {"source_rows": 99, "unlabelled": 0, "features": {}, "windows": {"train": window, "holdout": window}}
        self.write(
            params_yaml=self.params(),
            dvc_lock={"schema": "2.0", "stages": {"all": {"cmd": "true", "outs": outs}}},
            locks__pipeline_txt=LOCK,
            pyproject_toml='[project]\nrequires-python = ">=3.11,<3.14"\n',
            reports__gates_json={"verdict": verdict, "challenger": self.digest, "champion": None, "gates": rules},
            reports__dataset_json=dataset,
            models__registry_yaml={NAME: self.registry},
        )  # fmt: skip
        return self.digest

    def params(self):
        signers = {name: {"key": public(name)} for name in self.signers}
        return {
            "name": NAME,
            "seed": 7,
            "model": self.model,
            "data": {"window": {"train": "2013-01..2013-06", "holdout": "2013-07"}},
            "deploy": {"signers": signers, "environments": self.environments},
        }

    def commit(self, message, who="Ada"):
        """Commit the working tree directly on the branch."""
        self.hours += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}", who=who)
        return self.git("rev-parse", "HEAD")

    def merge(self, number, title, who="Ada"):
        """Commit the working tree on a branch, and merge it as a forge merges a pull request; return the merge."""
        self.git("checkout", "--quiet", "-b", f"change-{number}")
        self.commit(title, who)
        self.git("checkout", "--quiet", "main")
        self.hours += 1
        message = f"Merge pull request #{number} from org/change-{number}\n\n{title}"
        self.git("merge", "--quiet", "--no-ff", f"--message={message}", f"change-{number}", who="Forge")
        return self.git("rev-parse", "HEAD")

    def declare(self, number=None, who="Ada", **environments):
        """Declare environments, by a pull request of this number or a direct push; return the trunk's commit."""
        self.registry |= environments
        self.write(models__registry_yaml={NAME: self.registry})
        title = ", ".join(f"{name}: {version}" for name, version in environments.items())
        return self.merge(number, title, who) if number else self.commit(title, who)

    def release(self, review=None, signer="release", name=NAME):
        """Tag what is checked out as the next version, signed; return its version."""
        self.hours += 1
        self.released += 1
        version, commit = Version(name, self.released), self.git("rev-parse", "HEAD")
        found = {path: (self.folder / path).read_bytes() for path in provenance.READ}
        facts = provenance.facts_of(found, commit, version)
        payload = provenance.encode(facts, ReleaseRun(review=review))
        signed = signing.sign(payload, {signing.KEY: private(signer)})
        hashed = facts.hashes["reports/gates.json"]
        self.tag(version.tag, release_message.message(Announced(version, facts.digest, hashed, review, signed)))
        return version

    def tag(self, name, message, commit="HEAD", *, force=False):
        options = ["--annotate", "--cleanup=verbatim", "--file=-", *["--force"] * force]
        self.git("tag", *options, name, commit, who="Releaser", given=message)

    def message(self, name):
        """The message of a tag."""
        return self.git("for-each-ref", "--format=%(contents)", f"refs/tags/{name}") + "\n"


def entered(made, folder, monkeypatch):
    """A copy of a project, which a test may break; it is the working directory, and no forge is named."""
    monkeypatch.chdir(shutil.copytree(made.folder, folder))
    for name in ("GITHUB_REPOSITORY", "CI_PROJECT_ID", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    copy = Project(folder, create=False)
    copy.__dict__ |= made.__dict__ | {"folder": folder, "registry": dict(made.registry), "model": dict(made.model)}
    return copy


def flights(folder):
    """Two versions, of pull requests by Ada and Bob; staging follows, production went to v1, v2, and back to v1."""
    made = Project(folder)
    made.declare(10, staging="latest")
    made.build(max_iter=150)
    made.merge(11, "Longer")
    made.release(ReviewFacts(11, "ada", ("bob",)))
    made.declare(12, production="v1")
    made.build(max_iter=200)
    made.merge(13, "Longer still", who="Bob")
    made.release(ReviewFacts(13, "bob", ("ada", "eve")))
    made.declare(14, production="v2")
    made.declare(15, production="v1")
    return made
