"""conf/gates of a problem, as text: what every model must meet, and limits that a first run has set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trunkline.core import safe_yaml
from trunkline.init import contract_text, names, roles, template, yaml_text
from trunkline.init.problem import Problem

JUDGED: Mapping[str, str] = {
    "binary": "log_loss",
    "multiclass": "log_loss",
    "regression": "rmse",
}  # models are compared by it
_MARGIN = 0.02  # of a log loss; of a number, in standard deviations of the label
SLOPE = (0.3, 3)  # of the calibration
SANE, NO_LEAK = "sane", "no_leak"


@dataclass(frozen=True)
class Rule:
    """A rule as conf/gates has it, and what a person should know of it, which stands above as a comment."""

    content: Mapping[str, Any]
    why: str = ""


def text(problem: Problem, rules: Mapping[str, Rule], seen: Mapping[str, str]) -> str:
    """Return the file; `rules` are those that a first run has given, which come first.

    `seen` is what a first run has shown of features that look like a leak, by their names.
    """
    every = {**rules, **{name: Rule(rule) for name, rule in _always(problem).items() if name not in rules}}
    leak = every.pop(NO_LEAK)
    baseline = "logistic" if problem.target.task != "regression" else "ridge"
    simple = safe_yaml.parse_yaml(template.text(f"conf/model/{baseline}.yaml"))
    why = "set from the first run" if rules else "no metric has a limit yet, since nothing was run: add a threshold"
    return "\n".join(
        [
            "# yaml-language-server: $schema=../../docs/schemas/gates.json",
            "# What a model must meet before it may be merged. Every rule blocks unless it is advisory;",
            "# `trunkline gate --self-test` says whether these rules would stop models that are known to be bad.",
            yaml_text.entry("confidence", 0.95),
            yaml_text.entry("resamples", 2000),
            yaml_text.entry("seeds", 2),
            "",
            "baseline: # the simple model that a complicated one should beat",
            *(yaml_text.entry(key, value, 2) for key, value in simple.items()),
            "",
            "rules:",
            f"  # {why}.",
            *(
                line
                for name, rule in every.items()
                for line in (*yaml_text.comment(rule.why, 2), yaml_text.entry(name, dict(rule.content), 2))
            ),
            *yaml_text.comment(leak.why, 2),
            *yaml_text.block(NO_LEAK, leak.content, 2),
            *_reasons_missing(problem, seen),
            "",
        ]
    )


def _always(problem: Problem) -> dict[str, dict[str, Any]]:
    task, metric = problem.target.task, JUDGED[problem.target.task]
    spread = float(problem.labels.drop_nulls().to_numpy().std()) if task == "regression" else 1.0
    margin = float(f"{_MARGIN * spread:.2g}")
    rates = {
        "base_rate": {"kind": "data", "measure": "base_rate_ratio", "minimum": 0.5, "maximum": 2, "advisory": True}
    }
    return {
        "no_worse": {"kind": "champion", "metric": metric, "margin": margin},
        "above_noise": {"kind": "noise_floor", "metric": metric, "advisory": True},
        "knows_something": {"kind": "simplicity", "metric": metric, "than": "base_rate", "margin": 0},
        "worth_it": {"kind": "simplicity", "metric": metric, "margin": 0, "advisory": True},
        SANE: {"kind": "sanity", "slope": list(SLOPE)},
        "quarantine": {
            "kind": "data",
            "measure": "quarantined_share",
            "maximum": contract_text.quarantine_limit(problem.observed),
        },
        **(rates if task == "binary" else {}),
        "shift": {"kind": "data", "measure": "psi", "maximum": 0.5, "advisory": True},
        "small": {"kind": "operational", "measure": "megabytes", "maximum": 50},
        "runs_anywhere": {"kind": "runtime", "required": "onnx"},
        NO_LEAK: {"kind": "leak"},
    }


def _reasons_missing(problem: Problem, seen: Mapping[str, str]) -> list[str]:
    """Return comments that a person completes: the reason why a feature that looks like a leak is known before."""
    signs = {**{name: f"alone {strength:.2f}" for name, strength in suspects(problem).items()}, **seen}
    if not signs:
        return []
    return [
        "    # A feature that ranks the labels too well alone, or outweighs all others, blocks until its reason stands",
        "    # here, or conf/contract says `known: outcome` of its column:",
        "    # explained:",
        *(f"    #   {name}: why it is known before # {sign}" for name, sign in signs.items()),
    ]


def suspects(problem: Problem) -> dict[str, float]:
    """Return the features that rank the labels so well alone that a rule asks for a reason, and how well they do."""
    by_column = {expression: name for name, expression in problem.features.items()}
    strengths = {
        by_column[names.reference(column)]: role.strength
        for column, role in problem.roles.items()
        if role.strength is not None and role.strength > roles.SUSPECT - 0.02 and names.reference(column) in by_column
    }
    return {name: strength for name, strength in strengths.items() if strength is not None}
