"""Finds the step that an environment's rollout is in: what the registry file declares, and since when.

The file is read here by its two forms alone, `{version: v4, shadow: v5}` and `{version: v4, canary: {version: v5,
share: 5}}`; whether it makes sense is judged where it is applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from trunkline.adapters.git import ancestry, repository
from trunkline.conf.rollout import ArmKind, Rollout
from trunkline.core import paths, safe_yaml
from trunkline.core.errors import UserError
from trunkline.core.params import dig
from trunkline.deploy.rollout import step
from trunkline.deploy.rollout.step import Step


@dataclass(frozen=True)
class Declared:
    """The candidate of an environment, the version that it is tried beside, how, and a canary's share in percent."""

    kind: ArmKind
    candidate: str
    current: str
    share: float | None


def find(folder: Path, name: str, environment: str, rollout: Rollout, since: datetime | None) -> Step | None:
    """Return the step that a model's environment is in; None where no rollout runs there.

    `since` is UTC; None: when the commit that declared the step came to the line of HEAD. Raises UserError for a step
    that conf/deploy does not have, or that nothing has committed.
    """
    try:
        text = (folder / paths.REGISTRY).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{paths.REGISTRY}: there is no such file; run this in the root of a project") from None
    declared = understood(_content(text), name, environment)
    if declared is None:
        return None
    number = step.place(rollout, environment, declared.kind, declared.share)
    began = since or _since(folder, name, environment, declared)
    return Step(environment, declared.candidate, declared.current, began, rollout, number)


def understood(content: Any, name: str, environment: str) -> Declared | None:
    """Return what a registry file's content says of an environment's rollout; None where it declares none."""
    value = dig(content, name, environment)
    if not isinstance(value, Mapping):
        return None
    current, shadow, canary = str(value.get("version")), value.get("shadow"), value.get("canary")
    if shadow is not None:
        return Declared("shadow", str(shadow), current, None)
    if isinstance(canary, Mapping):
        return Declared("canary", str(canary.get("version")), current, float(canary.get("share") or 0))
    return None


def _content(text: str) -> Any:
    try:
        return safe_yaml.parse_yaml(text)
    except yaml.YAMLError:
        return None


def _since(folder: Path, name: str, environment: str, declared: Declared) -> datetime:
    """Return when the oldest of the newest commits that declare the same came to the line of HEAD."""
    commits = ancestry.first_parents(folder, "HEAD", [paths.REGISTRY])
    texts = repository.files_at(folder, [commit.hash for commit in commits], [paths.REGISTRY])
    began = None
    for commit in commits:
        content = _content(texts[commit.hash].get(paths.REGISTRY, b"").decode(errors="replace"))
        if understood(content, name, environment) != declared:
            break
        began = commit.date
    if began is None:
        raise UserError(
            f"{paths.REGISTRY}: {name}.{environment}: no commit declares it as it is here; commit it, or say since "
            "when: --since"
        )
    return datetime.fromisoformat(began)
