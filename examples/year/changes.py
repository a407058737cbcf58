"""What changes the trunk of the lived year: a release, a rollout, a retraining, and a person who means well.

No forge: a pull request is a branch, which is merged by the verdict of the gates alone. The texts that a forge would
show are kept in the folder `pulls` of the state.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from examples.year import setting
from examples.year.setting import LOG, World
from trunkline.conf import registry
from trunkline.conf.registry import NOTHING, Declaration
from trunkline.core import files, paths

NAME = "flight-delay"
RETRAINING = f"retrain/{NAME}"
CHALLENGER = "fewer-trees"
SHARE = 10  # of its trees, the challenger keeps one


@dataclass(frozen=True)
class Trunk:
    """The trunk of a world; `pulls` keeps the text of each pull request."""

    world: World
    pulls: Path

    @property
    def declared(self) -> Declaration:
        """What production is declared to run."""
        return registry.read(self.world.project / paths.REGISTRY, NAME).environments.get(registry.PRODUCTION, NOTHING)

    def release(self, version: str, day: date) -> None:
        """Sign what the trunk has as a version, and have production run it by a merge: at once, or by a rollout."""
        self.world.verb("release", day=day)
        asked = ("promote", version, "--to", registry.PRODUCTION, "--json")
        self._keep(self._said(*asked, "--dry-run", day=day), f"promote-{version}", day)
        said = self._said(*asked, "--local", day=day)
        self.world.merge(said["branch"], said["title"], day)
        self.world.run("git", "branch", "--quiet", "--delete", "--force", said["branch"], day=day)
        self.world.verb("reconcile", day=day)

    def retrain(self, day: date) -> dict[str, Any]:
        """Have `trunkline retrain` propose newer windows and run the pipeline; merge and release what the gates pass.

        Where what the model is given is broken, it refuses: the words are kept, and nothing is done.
        """
        world, asked = self.world, ("retrain", "--local", "--run", "--json", "--log", LOG, "--as-of", _moment(day))
        said = dict(json.loads(world.run("trunkline", *asked, day=day, codes=(0, 1))))
        if said["what"] in ("nothing", "refused") or said["step"] == "left closed":
            return said
        self._keep(said, "retrain", day)
        gates = json.loads(world.run("git", "show", f"{RETRAINING}:reports/gates.json", day=day))
        about = {name: said[name] for name in ("what", "title", "windows")} | _judged(gates)
        if gates["verdict"] != "pass":
            return about | {"became": "refused"}
        world.merge(RETRAINING, f"Merge: {said['title']}", day)
        world.run("git", "branch", "--quiet", "--delete", "--force", RETRAINING, day=day)
        world.run("dvc", "checkout", "--quiet", day=day)
        version = f"v{self._newest(day) + 1}"
        self.release(version, day)
        return about | {"became": "released", "version": version}

    def roll(self, day: date) -> dict[str, Any] | None:
        """Have the rollout go on as the log says at the end of a day; None where none runs."""
        if self.declared.candidate is None:
            return None
        said = self._said("rollout", "--act", "--json", "--log", LOG, "--as-of", _moment(day), day=day)
        self.world.run("git", "pull", "--quiet", "--ff-only", "origin", "main", day=day)
        self.world.verb("reconcile", day=day)
        about = {name: said[name] for name in ("answer", "candidate", "current", "kind", "share", "rows", "reasons")}
        return about | {"declared": str(self.declared)}

    def challenge(self, day: date) -> dict[str, Any]:
        """Propose a tenth of the trees as a person would, run the pipeline in a checkout, and hear the gates."""
        world, folder = self.world, self.world.root / CHALLENGER
        world.run("git", "worktree", "prune", day=day)
        world.run("git", "worktree", "add", "--quiet", "--force", "-B", CHALLENGER, str(folder), "main", day=day)
        title = _fewer_trees(folder)
        cache = world.project / ".dvc/cache"
        (folder / ".dvc/config.local").write_text(f'[cache]\n    dir = "{cache}"\n', encoding="utf-8")
        for command in (("checkout", "--quiet", "--allow-missing"), ("repro", "--quiet")):
            world.run("dvc", *command, day=day, within=folder)
        gates = json.loads((folder / "reports/gates.json").read_text(encoding="utf-8"))
        world.run("git", "commit", "--quiet", "--all", f"--message={title}", day=day, within=folder)
        world.run("git", "worktree", "remove", "--force", str(folder), day=day)
        judged = _judged(gates)
        body = "\n".join(["It trains in a tenth of the time.", "", *(f"- {each}" for each in judged["gates"])])
        self._keep({"title": title, "body": body}, CHALLENGER, day)
        return {"title": title, "branch": CHALLENGER} | judged

    def _said(self, *command: str, day: date, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        return dict(json.loads(self.world.verb(*command, day=day, codes=codes)))

    def _keep(self, pull: Mapping[str, Any], what: str, day: date) -> None:
        text = f"# {pull['title']}\n\n{pull['body']}".rstrip() + "\n"
        files.write_text(self.pulls / f"{day}-{what}.md", text)

    def _newest(self, day: date) -> int:
        """Return the number of the newest version."""
        tags = self.world.run("git", "tag", "--list", f"{NAME}@v*", day=day).split()
        return max(int(tag.partition("@v")[2]) for tag in tags if "." not in tag)


def _fewer_trees(project: Path) -> str:
    """Leave the model a tenth of its trees; return in words what that changes."""
    content = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    before = content["model"]["max_iter"]
    after = max(1, before // SHARE)
    for path in (project / "conf/model").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        files.write_text(path, text.replace(f"max_iter: {before}\n", f"max_iter: {after}\n"))
    return f"{after} trees instead of {before}"


def _judged(gates: Mapping[str, Any]) -> dict[str, Any]:
    failed = [each["reason"] for each in gates["gates"] if each["blocking"] and each["verdict"] != "pass"]
    return {"verdict": gates["verdict"], "gates": failed}


def _moment(day: date) -> str:
    return f"{setting.end(day):%Y-%m-%dT%H:%M}"
