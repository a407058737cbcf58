"""Composes conf/ into params.yaml, and refuses what is wrong with one line per mistake: file, line, key, remedy.

Hydra merges the files; the typed structures of `params` and the modules that give the values their meaning judge the
result. The same judgement runs in the compose stage, under `trunkline compose --check`, and on what `dvc exp run -S`
composed, so a wrong config gets no further than here.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from trunkline.conf import handwritten
from trunkline.core.errors import UserError, nearest
from trunkline.pipeline.compose import files
from trunkline.pipeline.compose.files import Composed, placed

NAMED: dict[str, dict[str, Any]] = {
    "data": {"derive": {}, "window": None, "split": None, "timezone": "UTC"},
    "gates": {"baseline": None, "poisoned": None, "seeds": 0},
}
NO_LEAK = "no_leak"  # the name of the rule where none is declared
HEADER = "# Composed from conf/ by the compose stage. Do not edit: change conf/, then run dvc repro.\n"

MAX_COPIED = 1_000_000  # characters that references stand for


def compose(conf: Path, overrides: Sequence[str] = ()) -> Composed:
    """Merge conf/ with Hydra overrides such as `model=forest` or `model.max_depth=9`.

    Raises UserError for files that cannot be merged.
    """
    config = _merge(conf, overrides)
    choices = dict(config.hydra.runtime.choices)
    merged = tuple(files.layers(conf, {k: v for k, v in choices.items() if not k.startswith("hydra/")}))
    with open_dict(config):
        del config["hydra"]
    _refuse_growth(Composed(cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False)), merged), conf)
    try:
        content: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        key = tuple(str(error.full_key or "").split("."))
        message = str(error).splitlines()[0]
        raise UserError(placed(Composed({}, merged), conf, key, f"{message}; refer to a key that exists")) from None
    return Composed(completed(content), merged)


def hydra_text(conf: Path, overrides: Sequence[str], whole: bool) -> str:
    """Return as YAML what Hydra's `--cfg hydra` prints, or `--cfg all`; references stay as they are."""
    config = _merge(conf, overrides)
    return OmegaConf.to_yaml(config if whole else OmegaConf.masked_copy(config, ["hydra"]))


def _merge(conf: Path, overrides: Sequence[str]) -> DictConfig:
    """Have Hydra merge conf/, with its own settings under `hydra`; raises UserError for what it cannot merge."""
    files.lint(conf)
    GlobalHydra.instance().clear()
    try:
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            if override.is_sweep_override():
                line = override.input_line
                raise UserError(f"{line}: has several values; to run each: dvc exp run --queue -S '{line}'")
        with initialize_config_dir(str(conf.resolve()), version_base=None):
            return hydra_compose(files.ROOT, list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(conf, error)) from None
    except yaml.MarkedYAMLError as error:  # Hydra's reader refuses what ours, in C, takes, such as a tab in a text
        raise UserError(f"{_marked(conf, error.problem_mark)}: not YAML: {error.problem}") from None


def _marked(conf: Path, mark: yaml.Mark | None) -> str:
    """Return the file and the line that a mark of Hydra's reader is at."""
    home = f"{conf.resolve()}{os.sep}"
    return f"{conf / str(mark.name).removeprefix(home)}:{mark.line + 1}" if mark else str(conf)


def completed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return content with the defaults of optional keys that a stage names: DVC refuses one that is not there.

    Where no rule looks for leaks, one is added: it can be made advisory, but not be forgotten.
    """
    groups = dict(content)
    for group, defaults in NAMED.items():
        if isinstance(groups.get(group), dict):
            groups[group] = defaults | groups[group]
    gates = groups.get("gates")
    if isinstance(gates, dict) and isinstance(gates.get("rules"), dict):
        groups["gates"] = gates | {"rules": _looking_for_leaks(gates["rules"])}
    return groups


def _looking_for_leaks(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return rules with one that looks for leaks, under a name that is free."""
    if any(isinstance(rule, dict) and rule.get("kind") == "leak" for rule in rules.values()):
        return dict(rules)
    name = next(name for name in (NO_LEAK + "_" * more for more in range(len(rules) + 1)) if name not in rules)
    return {**rules, name: {"kind": "leak"}}


def _refuse_growth(unresolved: Composed, conf: Path) -> None:
    """Refuse references that call something, that refer on (thirty lines can double thirty times) or copy a lot."""
    copied = 0
    for key, text in _texts(unresolved.content, ()):
        if handwritten.calls(text):
            raise UserError(placed(unresolved, conf, key, f"'{text[:100]}' calls a resolver; write the value"))
        for name in handwritten.REFERENCE.findall(text):
            target = str(_at(unresolved.content, name.split(".")))
            copied += len(target)
            if "${" in target:
                raise UserError(placed(unresolved, conf, key, f"${{{name}}} refers on; write the value"))
            if copied > MAX_COPIED:
                raise UserError(placed(unresolved, conf, key, f"${{{name}}} copies too much; write less"))


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
    where = files.chosen(conf, group, option) or conf
    if group not in files.groups(conf):
        return f"{where}: {group}: there is no folder {conf / group}{nearest(group, files.groups(conf))}"
    hint = nearest(option, files.options(conf, group))
    return f"{where}: {group}: there is no option '{option}' in {conf / group}{hint}"


def render(content: Mapping[str, Any]) -> str:
    """Write params.yaml: sorted, so that moving a line in conf/ changes nothing."""
    body = yaml.safe_dump(dict(content), sort_keys=True, allow_unicode=True, default_flow_style=False, width=1000)
    return HEADER + body
