"""models/registry.yaml, the desired state: which version of the model each environment is to run.

It is changed by a commit and by nothing else; what runs is brought in line with it, never the other way round. Pure
but for `read`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trunkline.conf import handwritten, versions
from trunkline.conf.versions import Version
from trunkline.core import safe_yaml
from trunkline.core.errors import UserError, nearest

PRODUCTION = "production"
LATEST: Literal["latest"] = "latest"

# The number of a version, the newest one that there is, or none.
Desired = int | Literal["latest"] | None


@dataclass(frozen=True)
class Registry:
    """What each environment of a model is to run; `where` is the file, for messages."""

    where: str
    name: str
    environments: Mapping[str, Desired]

    def check(self, declared: Iterable[str]) -> None:
        """Raise UserError unless it has exactly the environments that conf/deploy declares."""
        expected = sorted(declared)
        for environment in self.environments:
            if environment not in expected:
                advice = nearest(environment, expected)
                raise UserError(f"{self.where}: {self.name}.{environment}: no such environment in conf/deploy{advice}")
        for environment in expected:
            if environment not in self.environments:
                raise UserError(f"{self.where}: {self.name}: lacks {environment}; write: {environment}: null")

    def resolve(self, released: Iterable[Version]) -> dict[str, Version | None]:
        """Return the version of each environment; raises UserError for one that was never released."""
        releases = sorted(version for version in released if version.name == self.name)
        latest = releases[-1] if releases else None
        resolved: dict[str, Version | None] = {}
        for environment, desired in self.environments.items():
            version = Version(self.name, desired) if isinstance(desired, int) else latest if desired else None
            if version and version not in releases:
                newest = f"the newest is {latest.label}" if latest else "there is none yet"
                raise UserError(
                    f"{self.where}: {self.name}.{environment}: {version.label} was never released ({newest}); "
                    f"name a version that has a tag {self.name}@vN"
                )
            resolved[environment] = version
        return resolved


def production(path: Path, name: str) -> int | None:
    """Return the number of the version that production is to run; None if there is none yet; raises as `read`."""
    desired = read(path, name).environments[PRODUCTION]
    return desired if isinstance(desired, int) else None


def read(path: Path, name: str) -> Registry:
    """Read the registry file; raises UserError where it is missing, and as `parse`."""
    try:
        handwritten.lint_file(path)
    except FileNotFoundError:
        advice = f"write: {name}: {{staging: latest, production: null}}"
        raise UserError(f"{path}: there is no such file; {advice}") from None
    return parse(path.read_text(encoding="utf-8"), name, path)


def parse(text: str, name: str, path: Path) -> Registry:
    """Return what a registry file's text says of a model.

    `path` is what messages name. Raises UserError for a text that knows no such model, or is not of the form
    `<name>: {production: vN | null, <environment>: latest | vN | null}`.
    """
    handwritten.lint_text(path, text)
    content = safe_yaml.parse_yaml(text, unique=False)  # a repeated key is reported with both lines
    models = content if isinstance(content, dict) else {}
    if not isinstance(models.get(name), dict):
        advice = f"write: {name}: {{staging: latest, production: null}}"
        raise UserError(f"{path}: has no model {name}{nearest(name, map(str, models))}; {advice}")
    environments = {str(key): understood(f"{path}: {name}.{key}", key, value) for key, value in models[name].items()}
    if PRODUCTION not in environments:
        present = ", ".join(environments) or "nothing"
        raise UserError(f"{path}: {name}: lacks production, has {present}; write: production: null")
    return Registry(str(path), name, environments)


def written(desired: Desired) -> str:
    """Return what an environment is to run as the file has it: v3, latest or null."""
    return "null" if desired is None else f"v{desired}" if isinstance(desired, int) else desired


def understood(where: str, environment: object, value: object) -> Desired:
    """Return what a value of the file means; raises UserError, beginning with `where`, for any other."""
    if value is None:
        return None
    if value == LATEST and environment != PRODUCTION:
        return LATEST
    number = versions.number(value) if isinstance(value, str) else None
    if number is None:
        forms = "a version such as v3, or null" if environment == PRODUCTION else "a version such as v3, latest or null"
        raise UserError(f"{where}: must be {forms}, not {value!r}")
    return number
