"""Composes conf/ into params.yaml, and refuses what is wrong with one line per mistake: file, line, key, remedy.

Hydra merges the files; the typed structures of `params` and the modules that give the values their meaning judge the
result. The same judgement runs in the compose stage, under `trunkline compose --check`, and on what `dvc exp run -S`
composed, so a wrong config gets no further than here.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from trunkline import coherence, conffiles, planning
from trunkline.core.errors import UserError, nearest
from trunkline.params.data import Data
from trunkline.params.project import Project

NAMED: dict[str, dict[str, Any]] = {
    "data": {"window": None, "split": None, "timezone": "UTC"},
    "gates": {"baseline": None, "seeds": 0},
}
HEADER = "# Composed from conf/ by the compose stage. Do not edit: change conf/, then run dvc repro.\n"

MAX_COPIED = 1_000_000  # characters that references stand for
MAX_TOLD = 10  # mistakes: who made more of them mends these first

_KEY = re.compile(r"([A-Za-z_][\w-]*(?:\.[\w-]+)*): ")


@dataclass(frozen=True)
class Composed:
    """Plain merged content, and the files that it was merged from, strongest first."""

    content: dict[str, Any]
    merged: tuple[tuple[Path, tuple[str, ...]], ...]


def compose(conf: Path, overrides: Sequence[str] = ()) -> Composed:
    """Merge conf/ with Hydra overrides such as `model=forest` or `model.max_depth=9`.

    Raises UserError for files that cannot be merged.
    """
    conffiles.lint(conf)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf.resolve()), version_base=None):
            config = hydra_compose(conffiles.ROOT, list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(conf, error)) from None
    choices = dict(config.hydra.runtime.choices)
    merged = tuple(conffiles.layers(conf, {k: v for k, v in choices.items() if not k.startswith("hydra/")}))
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    _refuse_growth(Composed(cast("dict[str, Any]", OmegaConf.to_container(own, resolve=False)), merged), conf)
    try:
        content: Any = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as error:
        key = tuple(str(error.full_key or "").split("."))
        message = str(error).splitlines()[0]
        raise UserError(_placed(Composed({}, merged), conf, key, f"{message}; refer to a key that exists")) from None
    return Composed(completed(content), merged)


def completed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return content with the defaults of optional keys that a stage names: DVC refuses one that is not there."""
    found = dict(content)
    for group, defaults in NAMED.items():
        if isinstance(found.get(group), dict):
            found[group] = defaults | found[group]
    return found


def _refuse_growth(unresolved: Composed, conf: Path) -> None:
    """Refuse references that call something, that refer on (thirty lines can double thirty times) or copy a lot."""
    copied = 0
    for key, text in _texts(unresolved.content, ()):
        if conffiles.calls(text):
            raise UserError(_placed(unresolved, conf, key, f"'{text[:100]}' calls a resolver; write the value"))
        for name in conffiles.REFERENCE.findall(text):
            target = str(_at(unresolved.content, name.split(".")))
            copied += len(target)
            if "${" in target:
                raise UserError(_placed(unresolved, conf, key, f"${{{name}}} refers on; write the value"))
            if copied > MAX_COPIED:
                raise UserError(_placed(unresolved, conf, key, f"${{{name}}} copies too much; write less"))


def _texts(content: Any, key: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(content, str):
        yield key, content
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for part, value in children:
        yield from _texts(value, (*key, str(part)))


def _at(content: Any, key: Sequence[str]) -> Any:
    for part in key:
        if isinstance(content, list) and part.isdigit():
            content = content[int(part)] if int(part) < len(content) else None
        else:
            content = content.get(part) if isinstance(content, dict) else None
    return content


def _explain(conf: Path, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    missing = re.match(r"(?:In '[^']*': )?Could not find '([^']+)/([^'/]+)'", lines[0]) if lines else None
    if not missing:
        return f"{conf}: {' '.join(lines) or f'cannot be merged ({type(error).__name__})'}"
    group, option = missing[1], missing[2]
    place = conffiles.chosen(conf, group, option) or conf
    if group not in conffiles.groups(conf):
        return f"{place}: {group}: there is no folder {conf / group}{nearest(group, conffiles.groups(conf))}"
    hint = nearest(option, conffiles.options(conf, group))
    return f"{place}: {group}: there is no option '{option}' in {conf / group}{hint}"


def render(content: Mapping[str, Any]) -> str:
    """Write params.yaml: sorted, so that moving a line in conf/ changes nothing."""
    body = yaml.safe_dump(dict(content), sort_keys=True, allow_unicode=True, default_flow_style=False, width=1000)
    return HEADER + body


def check(composed: Composed, fallback: Path) -> Project:
    """Judge composed content; `fallback` is the file to name where no file of conf/ holds the key.

    Raises UserError with one line per mistake.
    """
    try:
        project = Project.model_validate(composed.content, strict=True)
    except ValidationError as error:
        found = [_structural(composed.content, item) for item in error.errors(include_url=False)[:MAX_TOLD]]
        raise UserError("\n".join(_placed(composed, fallback, key, message) for key, message in found)) from None
    mistakes = [
        _placed(composed, fallback, *_split_key(line)) for judge in JUDGES for line in _mistakes(judge, project)
    ]
    if mistakes:
        raise UserError("\n".join(mistakes))
    return project


def data_of(composed: Composed, fallback: Path) -> Data:
    """Judge conf/data alone, for what has to work while the rest does not fit to it yet.

    Raises UserError with one line per mistake.
    """
    try:
        return Data.parse(composed.content.get(Data.key))
    except ValidationError as error:
        located = [{**item, "loc": (Data.key, *item["loc"])} for item in error.errors(include_url=False)]
        found = [_structural(composed.content, item) for item in located]
        raise UserError("\n".join(_placed(composed, fallback, key, message) for key, message in found)) from None


def _verify_model(project: Project) -> None:
    from trunkline import estimators  # noqa: PLC0415  imports scikit-learn

    estimators.verify(project.model, project.data.target.task)


def _verify_search(project: Project) -> None:
    if project.search.trials:
        from trunkline.search import spaces  # noqa: PLC0415  imports scikit-learn

        spaces.verify(project.search, project.model, project.data.target.task)


def _verify_baseline(project: Project) -> None:
    from trunkline import estimators  # noqa: PLC0415  imports scikit-learn

    if project.gates.baseline:
        estimators.verify(project.gates.baseline, project.data.target.task, "gates.baseline")


JUDGES: tuple[Callable[[Project], object], ...] = (
    lambda project: coherence.tables(project.contract, project.data),
    lambda project: planning.plan(project.features, project.data, project.contract),
    _verify_model,
    _verify_search,
    _verify_baseline,
    lambda project: coherence.measures(project.evaluation, project.data, project.contract),
    lambda project: coherence.rules(project.gates, project.evaluation, project.data.target.task),
)


def _mistakes(judge: Callable[[Project], object], project: Project) -> Iterator[str]:
    try:
        judge(project)
    except UserError as error:
        yield from str(error).splitlines()


def _split_key(line: str) -> tuple[tuple[str, ...], str]:
    match = _KEY.match(line)
    return (tuple(match[1].split(".")), line[match.end() :]) if match else ((), line)


def _placed(composed: Composed, fallback: Path, key: Sequence[str], message: str) -> str:
    place = conffiles.locate(composed.merged, key) if key else None
    return f"{place or fallback}: {'.'.join(key)}: {message}" if key else f"{place or fallback}: {message}"


def _structural(content: Mapping[str, Any], error: Any) -> tuple[tuple[str, ...], str]:
    """Turn a pydantic error into a key of the content, without union tags, and a message."""
    key, schema = _walk(content, error["loc"])
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        inner, message = _split_key(message)
        return (*key, *inner), message
    if kind == "extra_forbidden":
        return key, f"unknown key{nearest(key[-1], schema)}"
    if kind == "missing":
        return key, "the key is missing"
    if kind in ("literal_error", "union_tag_invalid"):
        expected = re.findall(r"'([^']+)'", error["ctx"].get("expected") or error["ctx"]["expected_tags"])
        found = str(error["input"] if kind == "literal_error" else error["ctx"]["tag"])
        return key, f"'{found}' is not allowed{nearest(found, expected)}"
    shown = repr(error["input"])
    return key, message if len(shown) > 60 else f"{message}, not {shown}"


def _walk(content: Any, location: Sequence[str | int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the key of a location, and the valid names of the mapping that its last part belongs to."""
    schema: Any = Project.model_json_schema(by_alias=True)
    definitions, key, siblings = schema["$defs"], [], tuple(schema["properties"])
    last = len(location) - 1
    for i, part in enumerate(location):
        union = "discriminator" in schema
        schema = _resolved(schema, definitions, content)
        siblings = tuple(schema.get("properties", ()))
        inside = isinstance(content, list) or (isinstance(content, dict) and part in content)
        if union or (not inside and i < last) or part == "[key]":
            continue  # a union's tag, or pydantic's word for the key itself
        key.append(str(part))
        content = content[part] if inside else None
        schema = _child(schema, part)
    return tuple(key), siblings


def _child(schema: Any, part: str | int) -> Any:
    patterns = list(schema.get("patternProperties", {}).values())
    named, others = schema.get("properties", {}).get(part), schema.get("additionalProperties") or schema.get("items")
    found = named or (patterns[0] if patterns else others)
    return found if isinstance(found, dict) else {}


def _resolved(schema: Any, definitions: Mapping[str, Any], content: Any) -> Any:
    while True:
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
        elif "discriminator" in schema:
            name, mapping = schema["discriminator"]["propertyName"], schema["discriminator"]["mapping"]
            tag = content.get(name, _default_tag(name, mapping, definitions)) if isinstance(content, dict) else None
            reference = mapping.get(tag)
            schema = {"$ref": reference} if reference else {}
        elif "anyOf" in schema:
            schema = next((option for option in schema["anyOf"] if option.get("type") != "null"), {})
        else:
            return schema


def _default_tag(name: str, mapping: Mapping[str, str], definitions: Mapping[str, Any]) -> str | None:
    """Return the tag of the structure that is meant where none is written."""
    kinds = {tag: definitions[reference.rpartition("/")[2]]["properties"][name] for tag, reference in mapping.items()}
    return next((tag for tag, kind in kinds.items() if "default" in kind), None)
