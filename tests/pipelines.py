"""A pipeline of small steps with a real DVC: a bare origin, clones of it, and a folder as the remote."""

import os
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner
from dvc.repo import Repo

from tests.rig.repository import git
from trunkline.adapters.dvc import reproduce as dvc_reproduce
from trunkline.cli import trunkline

STEP = """
import pathlib, sys
name, out, *reads = sys.argv[1:]
with open("ran.log", "a") as log:
    log.write(name + "\\n")
rates = dict(line.partition(": ")[::2] for line in pathlib.Path("params.yaml").read_text().splitlines())
rate = int(rates[name])
if rate > 900:
    sys.exit(rate - 900)
total = sum(int(path.read_text()) for read in map(pathlib.Path, reads) for path in sorted(read.rglob("*")) or [read])
out = pathlib.Path(out)
parts = [out / "one", out / "two"] if not out.suffix else [out]
for part in parts:
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(f"{total * 10 + (sum(map(ord, name)) * 1000 + rate // 2 if part.name != 'two' else 7)}\\n")
"""
# What a stage reads and writes. `train` and `score` read parts of a folder; nothing reads data/log; the gate reads
# the whole of another folder, and a report that is in git.
READS = {
    "raw": ["source.txt"],
    "rows": ["data/raw.txt"],
    "log": ["data/raw.txt"],
    "train": ["data/rows/one"],
    "score": ["model.bin", "data/rows/two"],
    "metrics": ["data/predictions"],
    "gate": ["data/predictions", "reports/metrics.json"],
}
OUTS = {
    "raw": "data/raw.txt",
    "rows": "data/rows",
    "log": "data/log.txt",
    "train": "model.bin",
    "score": "data/predictions",
    "metrics": "reports/metrics.json",
    "gate": "reports/gates.json",
}
REMADE = ["log", "raw", "rows", "score", "train"]  # the others' results are in git, and would not be other ones
IN_GIT = ("reports/gates.json", "reports/metrics.json")


def stage(name: str) -> dict[str, Any]:
    command = f"{Path(sys.executable).as_posix()} -IS step.py {name} {OUTS[name]} {' '.join(READS[name])}"
    out = {OUTS[name]: {"cache": False}} if OUTS[name] in IN_GIT else OUTS[name]
    return {"cmd": command, "deps": READS[name], "params": [name], "outs": [out]}


@dataclass(frozen=True)
class Clone:
    """A clone of `origin`, a bare repository beside it, with a cache of its own and a folder as DVC's remote."""

    root: Path

    @property
    def remote(self) -> Path:
        return self.root.parent / "remote"

    @property
    def origin(self) -> Path:
        return self.root.parent / "origin.git"

    def git(self, *arguments: str) -> str:
        return git(self.root, *arguments)

    def another(self, name: str, branch: str = "main") -> "Clone":
        git(self.root.parent, "clone", "--quiet", "--branch", branch, str(self.origin), name)
        return Clone(self.root.parent / name).linked()

    def linked(self) -> "Clone":
        self.git("remote", "set-url", "origin", str(self.origin))
        (self.root / ".dvc/config.local").write_text(f'[remote "there"]\n    url = {self.remote}\n')
        return self

    def rate(self, **rates: int) -> None:
        path = self.root / "params.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | rates))

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")

    def reproduce(self, base: str | None = None, *, everything: bool = False) -> tuple[list[str], list[str]]:
        """Return the stages that ran, and what was told."""
        (self.root / "ran.log").unlink(missing_ok=True)
        told: list[str] = []
        dvc_reproduce.reproduce(self.root, base, told.append, everything=everything)
        log = self.root / "ran.log"
        return log.read_text().split() if log.exists() else [], told

    def verb(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Return the exit code of `trunkline ci reproduce`, and what it said itself, without DVC's lines."""
        return self.ci("reproduce", *arguments, **environ)

    def ci(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Return the exit code of `trunkline ci`, and what it said itself."""
        with chdir(self.root):
            done = CliRunner().invoke(trunkline, ["ci", *arguments], env=environ, catch_exceptions=False)
        return done.exit_code, done.stdout, done.stderr

    def push(self, branch: str = "main", **environ: str) -> dvc_reproduce.Pushed:
        return dvc_reproduce.push(self.root, branch, {**os.environ, **environ})

    def objects(self) -> set[str]:
        """Return the objects of the cache; a folder is one, and so is each of its files."""
        return objects(self.root / ".dvc/cache")

    def tip(self, branch: str = "main") -> str:
        return git(self.origin, "rev-parse", branch)

    def of(self, *stages: str) -> set[str]:
        """Return the objects that dvc.lock names for the outputs of stages, with the files of folders."""
        locked = yaml.safe_load((self.root / "dvc.lock").read_text())["stages"]
        found = {out["md5"] for name in stages for out in locked[name]["outs"]}
        folders = [self.remote / "files/md5" / name[:2] / name[2:] for name in found if name.endswith(".dir")]
        return found | {part["md5"] for folder in folders for part in yaml.safe_load(folder.read_text())}


def objects(folder: Path) -> set[str]:
    return {f"{path.parent.name}{path.name}" for path in (folder / "files/md5").glob("??/*")}


def create(folder: Path) -> Path:
    """Where the author ran all, and pushed the outputs and the commit: `author`, `origin.git` and `remote`."""
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    author = folder / "author"
    git(folder, "clone", "--quiet", "origin.git", "author")
    with Repo.init(str(author)):
        pass
    (author / ".dvc/config").write_text("[core]\n    analytics = false\n    remote = there\n")
    (author / "dvc.yaml").write_text(yaml.safe_dump({"stages": {name: stage(name) for name in READS}}))
    (author / "params.yaml").write_text(yaml.safe_dump(dict.fromkeys(READS, 4)))
    (author / "step.py").write_text(STEP)
    (author / "source.txt").write_text("1\n")
    (author / ".gitignore").write_text("/data\n/model.bin\n/ran.log\n")
    (author / "notes.txt").write_text("notes\n")
    git(author, "checkout", "--quiet", "-B", "main")
    (folder / "remote").mkdir()
    clone = Clone(author).linked()
    assert sorted(clone.reproduce()[0]) == sorted(READS)
    clone.commit("first")
    assert clone.push() == dvc_reproduce.Pushed((), clone.tip(), "same")
    return folder
