"""A project as one commit has it, with what its tags and its history say: where proofs are looked for. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from trunkline.adapters.git.documents import mapping
from trunkline.conf.gates import Gates
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json
from trunkline.core.params import dig
from trunkline.deploy.history import DeclaredChange
from trunkline.pipeline import claims
from trunkline.pipeline.gate import decision
from trunkline.pipeline.reports import GatesReport, Verdict

PIPELINE = Path("dvc.yaml")
ENVIRONMENT = Path("locks/pipeline.txt")
READ = (
    paths.PARAMS,
    PIPELINE,
    paths.LOCK,
    ENVIRONMENT,
    paths.REGISTRY,
    paths.GATES_REPORT,
    paths.BUNDLE_REPORT,
    paths.BACKTEST,
    paths.CHOICE,
)


@dataclass(frozen=True)
class Released:
    """A version whose chain holds: its tag, and who approved its pull request."""

    tag: str
    approvers: tuple[str, ...]


@dataclass(frozen=True)
class Project:
    """The files of a commit: the names of all, and the contents of those that are read.

    `versions` are those whose chain holds, oldest first; `changes` of what environments run, newest first. The commits
    that brought a retraining, and a feature without code, are None where there is none; `audited` is why an audit of
    the whole history finds it at fault, None if it does not.
    """

    commit: str
    names: frozenset[str]
    files: Mapping[Path, bytes]
    versions: tuple[Released, ...] = ()
    changes: tuple[DeclaredChange, ...] = ()
    retrained: str | None = None
    featured: str | None = None
    audited: str | None = "nothing has been released"

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """The content of params.yaml."""
        return mapping(self.files, paths.PARAMS) or {}

    @cached_property
    def lock(self) -> Mapping[str, Any]:
        """The content of dvc.lock."""
        return mapping(self.files, paths.LOCK) or {}

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts of reports/gates.json on the rules of params.yaml; none where they are not of these rules."""
        ran = dig(self.lock, "stages", "gate", "params", "params.yaml", "gates")
        if not self.is_kept(paths.GATES_REPORT) or ran != self.params.get("gates"):
            return ()
        try:
            report = GatesReport.model_validate(parse_json(self.files[paths.GATES_REPORT].decode()))
            return tuple(decision.reported(Gates.parse(self.params["gates"]), report))
        except (UserError, ValueError):
            return ()

    def is_kept(self, path: Path) -> bool:
        """Tell whether a file is what dvc.lock says that a stage has written."""
        written = {
            name: md5 for entry in claims.entries(self.lock).values() for name, md5 in claims.outputs(entry).items()
        }
        content = self.files.get(path)
        return content is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() == written.get(str(path))

    def at(self, path: Path, *keys: str) -> str | None:
        """Return where a key is in a YAML file, as path:line; None where there is none."""
        node: Any = yaml.compose(self.files[path], Loader=yaml.CSafeLoader) if mapping(self.files, path) else None
        line = None
        for key in keys:
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            pair = next((pair for pair in pairs if pair[0].value == key), None)
            if pair is None:
                return None
            line, node = pair[0].start_mark.line + 1, pair[1]
        return f"{path.as_posix()}:{line}" if line else None

    def matching(self, path: Path, pattern: str) -> str | None:
        """Return where a pattern is first in a text, as path:line, comments left out; None where it is not."""
        for number, line in enumerate(self.files.get(path, b"").decode(errors="replace").splitlines(), 1):
            if re.search(pattern, re.sub(r"(^|\s)#.*", "", line)):
                return f"{path.as_posix()}:{number}"
        return None

    def workflow(self, pattern: str) -> str | None:
        """Return where a workflow runs a command that matches."""
        places = (self.matching(path, pattern) for path in sorted(self.files) if is_workflow(path.as_posix()))
        return next(filter(None, places), None)


def is_workflow(name: str) -> bool:
    """Tell whether a file is one by which GitHub, GitLab or Jenkins runs commands."""
    return bool(re.fullmatch(r"\.github/workflows/[^/]+\.ya?ml|\.gitlab-ci\.yml|Jenkinsfile", name))
