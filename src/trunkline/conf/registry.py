"""models/registry.yaml, the desired state: which version of the model each environment is to run, and beside which one.

It is changed by a commit and by nothing else; what runs is brought in line with it, never the other way round. Pure
but for `read`. Of an environment it says

    production: v4
    production: {version: v4, shadow: v5}
    production: {version: v4, canary: {version: v5, share: 5}, hold: [v3]}
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from trunkline.conf import handwritten, versions
from trunkline.conf.deploy import DeployTarget
from trunkline.conf.versions import Version
from trunkline.core import safe_yaml
from trunkline.core.errors import UserError, nearest

PRODUCTION = "production"
LATEST: Literal["latest"] = "latest"

# The number of a version, the newest one that there is, or none.
Desired = int | Literal["latest"] | None
# shadow: the candidate scores too, and does not answer. canary: it answers a share of the requests.
Kind = Literal["shadow", "canary"]
_KEYS = ("version", *get_args(Kind), "hold")


@dataclass(frozen=True)
class Candidate:
    """The version that is tried beside the one that runs; `share` is a canary's, in percent, None for a shadow."""

    kind: Kind
    version: int
    share: float | None = None


@dataclass(frozen=True)
class Declaration:
    """What an environment is to run, the candidate of its rollout, and the versions that nothing may bring there."""

    version: Desired
    candidate: Candidate | None = None
    held: tuple[int, ...] = ()

    @property
    def content(self) -> Any:
        """The same as YAML has it: a text or None where only a version is declared, else a mapping."""
        version = None if self.version is None else label(self.version)
        if self.candidate is None and not self.held:
            return version
        content: dict[str, Any] = {"version": version}
        if self.candidate is not None:
            content |= {self.candidate.kind: _candidate_content(self.candidate)}
        return content | ({"hold": [label(number) for number in self.held]} if self.held else {})

    def __str__(self) -> str:
        """Write it as the file has it: v3, latest, null, or a mapping in braces."""
        return _flow(self.content)


NOTHING = Declaration(None)


@dataclass(frozen=True)
class Arms:
    """The versions of an environment: what it runs, and the candidate of its rollout."""

    current: Version | None
    candidate: Version | None = None


@dataclass(frozen=True)
class Registry:
    """What each environment of a model is to run; `where` is the file, for messages."""

    where: str
    name: str
    environments: Mapping[str, Declaration]

    def check(self, declared: Mapping[str, DeployTarget]) -> None:
        """Raise UserError unless it has just the environments of conf/deploy, and candidates where that has steps."""
        expected = sorted(declared)
        for environment in self.environments:
            if environment not in expected:
                advice = nearest(environment, expected)
                raise UserError(f"{self.where}: {self.name}.{environment}: no such environment in conf/deploy{advice}")
        for environment in expected:
            if environment not in self.environments:
                raise UserError(f"{self.where}: {self.name}: lacks {environment}; write: {environment}: null")
            candidate = self.environments[environment].candidate
            if candidate is not None and declared[environment].rollout is None:
                raise UserError(
                    f"{self.where}: {self.name}.{environment}.{candidate.kind}: conf/deploy declares no rollout of "
                    f"{environment}; declare one there, or remove {candidate.kind}"
                )

    def resolve(self, released: Iterable[Version]) -> dict[str, Arms]:
        """Return the versions of each environment.

        Raises UserError for one that was never released, and where `latest` is a version that is held, or the
        candidate.
        """
        releases = sorted(version for version in released if version.name == self.name)
        return {name: self._arms(name, declaration, releases) for name, declaration in self.environments.items()}

    def _arms(self, environment: str, declaration: Declaration, releases: list[Version]) -> Arms:
        where, latest = f"{self.where}: {self.name}.{environment}", releases[-1] if releases else None
        desired, candidate = declaration.version, declaration.candidate
        version = Version(self.name, desired) if isinstance(desired, int) else latest if desired else None
        tried = Version(self.name, candidate.version) if candidate else None
        held = (Version(self.name, number) for number in declaration.held)
        for named in filter(None, (version, tried, *held)):
            if named not in releases:
                newest = f"the newest is {latest.label}" if latest else "there is none yet"
                raise UserError(
                    f"{where}: {named.label} was never released ({newest}); "
                    f"name a version that has a tag {self.name}@vN"
                )
        if desired == LATEST and latest:
            _refuse_both(f"{where}.version: latest is {latest.label}", latest.number, declaration)
        return Arms(version, tried)


def production(path: Path, name: str) -> int | None:
    """Return the number of the version that production is to run; None if there is none yet; raises as `read`."""
    desired = read(path, name).environments[PRODUCTION].version
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
    `<name>: {production: vN | null, <environment>: latest | vN | null}`, where an environment may also be as the
    module says.
    """
    handwritten.lint_text(path, text)
    content = safe_yaml.parse_yaml(text, unique=False)  # a repeated key is reported with both lines
    models = content if isinstance(content, dict) else {}
    if not isinstance(models.get(name), dict):
        advice = f"write: {name}: {{staging: latest, production: null}}"
        raise UserError(f"{path}: has no model {name}{nearest(name, map(str, models))}; {advice}")
    environments = {str(key): declaration(f"{path}: {name}.{key}", key, value) for key, value in models[name].items()}
    if PRODUCTION not in environments:
        present = ", ".join(environments) or "nothing"
        raise UserError(f"{path}: {name}: lacks production, has {present}; write: production: null")
    return Registry(str(path), name, environments)


def label(desired: Desired) -> str:
    """Return a version as the file has it: v3, latest or null."""
    return "null" if desired is None else f"v{desired}" if isinstance(desired, int) else desired


def understood(where: str, environment: object, value: object) -> Desired:
    """Return what a version of the file means; raises UserError, beginning with `where`, for any other value."""
    if value is None:
        return None
    if value == LATEST and environment != PRODUCTION:
        return LATEST
    number = versions.number(value) if isinstance(value, str) else None
    if number is None:
        forms = "a version such as v3, or null" if environment == PRODUCTION else "a version such as v3, latest or null"
        raise UserError(f"{where}: must be {forms}, not {value!r}")
    return number


def declaration(where: str, environment: object, value: object) -> Declaration:
    """Return what the value of an environment means; raises UserError, beginning with `where`, for any other."""
    if not isinstance(value, dict):
        return Declaration(understood(where, environment, value))
    for key in value:
        if key not in _KEYS:
            raise UserError(f"{where}.{key}: no such key{nearest(str(key), _KEYS)}")
    if "version" not in value:
        raise UserError(f"{where}: lacks version; write: version: v3")
    kinds = [kind for kind in get_args(Kind) if kind in value]
    if len(kinds) > 1:
        raise UserError(f"{where}: has a shadow and a canary, but one rollout runs at a time; remove one of them")
    declared = Declaration(
        understood(f"{where}.version", environment, value["version"]),
        _candidate(f"{where}.{kinds[0]}", kinds[0], value[kinds[0]]) if kinds else None,
        _held(f"{where}.hold", value.get("hold", [])),
    )
    if declared.candidate is not None and declared.version is None:
        advice = f"write: {environment}: {label(declared.candidate.version)}"
        raise UserError(f"{where}.{kinds[0]}: there is no version to compare it with; {advice}")
    refuse_clashes(where, declared)
    return declared


def refuse_clashes(where: str, declared: Declaration) -> None:
    """Raise UserError, beginning with `where`, for a version that is to run and held, or the candidate as well."""
    candidate = declared.candidate
    if isinstance(declared.version, int):
        _refuse_both(f"{where}.version: {label(declared.version)}", declared.version, declared)
    if candidate is not None:
        _refuse_held(f"{where}.{candidate.kind}: {label(candidate.version)}", candidate.version, declared)


def _refuse_both(what: str, number: int, declared: Declaration) -> None:
    """Refuse a version that is to run, and is held, or is the candidate as well."""
    _refuse_held(what, number, declared)
    if declared.candidate is not None and number == declared.candidate.version:
        kind = declared.candidate.kind
        raise UserError(f"{what}, and the {kind} is the same version; name another one, or remove {kind}")


def _refuse_held(what: str, number: int, declared: Declaration) -> None:
    if number in declared.held:
        raise UserError(
            f"{what}, which is held: it was taken back here; name another version, or lift the hold: "
            f"remove {label(number)} from hold"
        )


def _candidate(where: str, kind: Kind, value: object) -> Candidate:
    if kind == "shadow":
        return Candidate(kind, _number(where, value))
    if not isinstance(value, dict) or set(value) != {"version", "share"}:
        raise UserError(f"{where}: must be such as {{version: v5, share: 5}}, not {_flow(value)}")
    share = value["share"]
    right = isinstance(share, int | float) and not isinstance(share, bool) and 0 < share < 100
    if not right or round(share, 2) != share:
        raise UserError(
            f"{where}.share: must be percent, more than 0 and less than 100, with two decimals at most, not {share!r}"
        )
    return Candidate(kind, _number(f"{where}.version", value["version"]), float(share))


def _held(where: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise UserError(f"{where}: must be a list of versions such as [v3], not {_flow(value)}")
    numbers = tuple(_number(where, item) for item in value)
    for number in numbers:
        if numbers.count(number) > 1:
            raise UserError(f"{where}: names {label(number)} more than once; remove one of them")
    return numbers


def _number(where: str, value: object) -> int:
    number = versions.number(value) if isinstance(value, str) else None
    if number is None:
        raise UserError(f"{where}: must be a version such as v3, not {_flow(value)}")
    return number


def _candidate_content(candidate: Candidate) -> Any:
    version, share = label(candidate.version), candidate.share
    if share is None:
        return version
    return {"version": version, "share": int(share) if share == int(share) else share}


def _flow(value: object) -> str:
    """Return a value as one line of YAML."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return "null" if value is None else str(value)
