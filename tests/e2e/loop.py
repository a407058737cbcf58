"""The whole loop, step by step and timed: what people do at the forge, and what a reconciler makes of the trunk.

It runs beside the forge, works from a bare clone, and may read: the repository with a token, the remote with its keys.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from tests.e2e.conftest import Checkout
from tests.e2e.pulls import Change, hosted
from tests.endpoint import endpoint, get, predict, until
from tests.releases import NAME, private, signers
from tests.rig import forking, packages
from tests.rig.dispatcher import Environment
from tests.rig.forge import PREFIX
from tests.rig.repository import ISOLATED, git
from tests.rig.rig import Rig
from tests.rig.runner import machine
from tests.rig.state import Pull
from tests.servers import mlflow_server
from trunkline.serve.log import REQUEST

CONF, SERVING = "conf/deploy/flights.yaml", "conf/serving/flights.yaml"
OWNER, COLLEAGUE, OPENER = "owner", "colleague", "opener"
Record = Callable[[str, object], None]  # as pytest's record_property


@dataclass
class World:
    """A forge, MLflow, one server per environment, and the reconciler that brings them in line with the trunk."""

    folder: Path
    rig: Rig
    mlflow: str
    addresses: dict[str, str]
    times: list[tuple[str, float]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """The folder that the servers watch."""
        return self.folder / "store"

    def reader(self, **permissions: str) -> dict[str, str]:
        """Return the environment of somebody who may read, and write nothing but MLflow and the store."""
        token = self.rig.state.grant("reader", {"contents": "read", **permissions})
        return {
            **machine(),
            **ISOLATED,
            **self.rig.remote_s3.environment,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.folder / "home"),
            "PYTHONWARNINGS": "ignore",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "GITHUB_TOKEN": token,
            "GITHUB_SERVER_URL": self.rig.forge.url,
            "TRUNKLINE_STORE": str(self.store),
        }

    def clone(self, name: str, *options: str) -> Path:
        """Make a clone over HTTP, which holds no token."""
        helper = '!f() { printf "username=reader\\npassword=%s\\n" "$GITHUB_TOKEN"; }; f'
        address, made = f"{self.rig.forge.url}/{self.rig.upstream.name}", self.folder / name
        code, told = self.run(
            self.folder, "git", "-c", f"credential.helper={helper}", "clone", "--quiet", *options, address, str(made)
        )
        assert code == 0, told
        return made

    def run(self, folder: Path, *command: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        """Run a command as the reader, and return its exit code and all that it printed."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=env or self.reader(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Remember how long a step took."""
        start = time.monotonic()
        yield
        self.times.append((step, round(time.monotonic() - start, 1)))

    def fork(self, *unforked: str) -> None:
        """From now on jobs have their verbs and stages from the fork server, but for those of these workflows."""
        self.rig.dispatcher.python = forking.python(self.folder / "python", packages.environment())
        self.rig.dispatcher.unforked |= {*unforked}

    def record(self, record_property: Record) -> None:
        """Give a test the times of the steps since the last one did so."""
        for step, seconds in self.times:
            record_property(step, seconds)
        self.times.clear()

    def follow(self, step: str, environment_: str, digest: str) -> None:
        """Wait until the server of an environment answers with a bundle, as MLflow's alias does."""
        with self.timed(step):
            until(lambda: (get(self.addresses[environment_]) or {}).get("digest") == digest, 60)
        assert self.alias(environment_)["trunkline.digest"] == digest

    def alias(self, name: str) -> dict[str, str]:
        """Return the tags of the version in MLflow's registry that has an alias."""
        address = f"{self.mlflow}/api/2.0/mlflow/registered-models/alias?name={NAME}&alias={name}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return {each["key"]: each["value"] for each in json.load(answer)["model_version"]["tags"]}

    def score(self, request: dict[str, Any]) -> float:
        """Return what production says to a request, and log which bundle said it."""
        said = predict(self.addresses["production"], request)
        with self.log.open("a") as file:
            print(json.dumps({"request_id": said["request_id"], "digest": said["digest"]}), file=file)
        return float(said["score"])

    def ask(self, environment_: str, digest: str) -> int:
        """Ask a server the golden requests of a delivered bundle, until all are in the log; return how many."""
        requests = [row["request"] for row in json.loads((self.store / "bundles" / digest / "golden.json").read_text())]
        asked = {predict(self.addresses[environment_], request)["request_id"] for request in requests}

        def logged() -> set[str]:
            files = self.logged.rglob("*.parquet")
            return {each for file in files for each in pq.read_table(file, columns=[REQUEST])[REQUEST].to_pylist()}

        until(lambda: asked <= logged(), 30)
        return len(requests)

    @property
    def logged(self) -> Path:
        """The log that conf/serving declares."""
        return self.folder / "log"

    @property
    def log(self) -> Path:
        """The prediction log of production."""
        return self.folder / "predictions.jsonl"

    def auditor(self) -> dict[str, str]:
        """Return the environment of somebody who may also ask the forge who approved what."""
        forge = {"GITHUB_REPOSITORY": self.rig.upstream.name, "GITHUB_API_URL": self.rig.forge.url + PREFIX}
        return self.reader(**{"pull-requests": "read"}) | forge

    def golden(self, digest: str) -> dict[str, Any]:
        """Return the first request of a delivered bundle, with the score that it is to have."""
        (first, *_) = json.loads((self.store / "bundles" / digest / "golden.json").read_text())
        return dict(first)

    def tag(self, label: str) -> tuple[str, str]:
        """Return the message of a version's tag, and the digest that it announces."""
        message = git(self.rig.upstream.path, "tag", "--list", "--format=%(contents)", f"{NAME}@{label}")
        return message, message.partition("bundle: ")[2].partition("\n")[0]

    def released(self, label: str) -> None:
        """Wait until there is a version."""
        with self.timed(f"merge → {label} released"):
            until(lambda: self.rig.upstream.sha(f"refs/tags/{NAME}@{label}") is not None, 300)

    def pull(self, step: str, act: Callable[[], object]) -> Pull:
        """Do what opens a pull request, and return it once it is checked."""
        before = len(self.rig.state.pulls)
        with self.timed(f"{step} → pull request"):
            act()
            until(lambda: len(self.rig.state.pulls) > before, 120)
        with self.timed("  → its checks"):
            self.rig.settle()
        return self.rig.state.pulls[max(self.rig.state.pulls)]

    def dispatch(self, **inputs: str) -> Pull:
        """Start the workflow `promote` by hand."""
        step = f"{inputs['action']} {inputs['version']}".strip()
        return self.pull(step, lambda: self.rig.dispatch("promote", inputs, wait=False))

    def merge(self, pull: Pull) -> None:
        """Merge with an owner's word; what the merge starts goes on."""
        self.rig.review(pull.number, OWNER)
        assert self.rig.merge(pull.number, wait=False) == ""


@contextmanager
def world(small: Checkout, folder: Path, history: Change | None = None, *, forked: bool = False) -> Iterator[World]:
    """Start everything; the first push has been judged when it is there. `history` and `forked` are as of `hosted`."""
    with ExitStack() as stack:
        mlflow = stack.enter_context(mlflow_server(folder / "mlflow"))
        store, log = folder / "store", {"to": str(folder / "log"), "interval": "1s"}
        addresses = {each: stack.enter_context(endpoint(store, each, log=log)) for each in ("staging", "production")}
        declared = partial(prepare, addresses=addresses, log=log)
        rig = stack.enter_context(hosted(small, folder, declared, history, forked=forked))
        rig.protect("trunkline", approvals=1, code_owners=True, dismiss_stale=True)
        made = World(folder, rig, mlflow, addresses)
        stack.enter_context(reconciling(made))
        yield made


def prepare(project: Checkout, rig: Rig, addresses: dict[str, str], log: dict[str, str]) -> None:
    """Declare the signer, the servers and the owner, and set up the forge as docs/setup-github.md says."""
    content = yaml.safe_load(project.read(CONF))
    content["signers"] = signers()
    content["recorders"] = signers("recorder")
    for name, address in addresses.items():
        content["environments"][name]["endpoints"] = [address]
    content["environments"]["staging"]["previews"] = {"slices": ["origin"]}
    (project.root / CONF).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with (project.root / SERVING).open("a", encoding="utf-8") as file:
        yaml.safe_dump({"log": log}, file)
    owners = project.read(".github/CODEOWNERS").replace("@your-org/on-call", f"@{OWNER}")
    (project.root / ".github/CODEOWNERS").write_text(owners, encoding="utf-8")
    keys = rig.remote_s3.environment
    opener = rig.state.grant(OPENER, {"contents": "write", "pull-requests": "write"})
    rig.dispatcher.environments |= {
        "release": Environment(secrets=keys | {"TRUNKLINE_SIGNING_KEY": private()}),
        "record": Environment(secrets=keys | {"TRUNKLINE_SIGNING_KEY": private("recorder")}),
        "promote": Environment(secrets=keys | {"TRUNK_TOKEN": opener}),
        "preview": Environment(secrets=keys),
    }
    rig.admit(OWNER)
    rig.admit(COLLEAGUE)
    rig.state.bypass.add(OPENER)
    rig.protect_tags("*@v*")


@contextmanager
def reconciling(made: World) -> Iterator[None]:
    """Run the reconciler, which looks every second."""
    command = ["trunkline", "reconcile", "--watch", "1s", "--metrics", str(made.folder / "trunkline.prom")]
    log = made.folder / "reconcile.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=made.clone("reconcile.git", "--bare"), env=made.reader(), stdout=file, stderr=file
        )
    try:
        yield
        process.terminate()
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
