"""conf/gates of a problem, as text: what every model must meet, and limits that a first run has set."""

from collections.abc import Mapping
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


def text(problem: Problem, rules: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the file; `rules` are those that a first run has given, which come first."""
    baseline = "logistic" if problem.target.task != "regression" else "ridge"
    simple = safe_yaml.parse_yaml(template.text(f"conf/model/{baseline}.yaml"))
    given = [yaml_text.entry(name, rule, 2) for name, rule in rules.items()]
    why = "set from the first run" if given else "no metric has a limit yet, since nothing was run: add a threshold"
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
            *given,
            *(yaml_text.entry(name, rule, 2) for name, rule in _always(problem).items() if name not in rules),
            *yaml_text.block("no_leak", {"kind": "leak"}, 2),
            *_reasons_missing(problem),
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
        "sane": {"kind": "sanity", "slope": [0.3, 3]},
        "quarantine": {
            "kind": "data",
            "measure": "quarantined_share",
            "maximum": contract_text.quarantine_limit(problem.observed),
        },
        **(rates if task == "binary" else {}),
        "shift": {"kind": "data", "measure": "psi", "maximum": 0.5, "advisory": True},
        "small": {"kind": "operational", "measure": "megabytes", "maximum": 50},
        "runs_anywhere": {"kind": "runtime", "required": "onnx"},
    }


def _reasons_missing(problem: Problem) -> list[str]:
    """Return comments that a person completes: the reason why a feature that ranks so well alone is known before."""
    ranking = suspects(problem)
    if not ranking:
        return []
    return [
        "    # A feature that ranks the labels too well alone blocks until its reason stands here, or conf/contract",
        "    # says `known: outcome` of its column:",
        "    # explained:",
        *(f"    #   {name}: why it is known before # alone {strength:.2f}" for name, strength in ranking.items()),
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
