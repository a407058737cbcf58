"""The groups of conf/ that are of a problem, as texts; what is the same for every problem is the framework's own."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from trunkline.core import safe_yaml
from trunkline.core.features import EVENT_TIME
from trunkline.init import contract_text, gates_text, names, roles, template, yaml_text
from trunkline.init.gates_text import Rule
from trunkline.init.problem import Problem, ProfiledTable, suggests_streams
from trunkline.pipeline.compose.edit import put

IF_LATER = "If it is known only afterwards, delete this line and write"
IF_BEFORE = "known: outcome in conf/contract; if it is known before, say why in conf/gates, under no_leak: explained."
# Groups that say the same in a new project as an option of the framework's.
_PLAIN = ("conf/engine/local.yaml", "conf/engine/ray.yaml", "conf/engine/spark.yaml", "conf/review/comment.yaml")
_COPIED = {"deploy": "flights", "serving": "flights", "monitoring": "common"}


def schema(group: str) -> str:
    """Return the line that tells an editor what a file of a group may hold."""
    return f"# yaml-language-server: $schema=../../docs/schemas/{group}.json"


def option(problem: Problem) -> str:
    """Return the name of the options that are of a problem."""
    return problem.name.replace("-", "_")


def texts(problem: Problem, rules: Mapping[str, Rule]) -> dict[Path, str]:
    """Return the files of conf/ that are of the problem; `rules` are gates that a first run has given."""
    own = option(problem)
    groups = {
        "data": _data(problem),
        "contract": contract_text.text(problem),
        "features": features(problem, {}),
        "evaluation": _evaluation(problem),
        "gates": gates_text.text(problem, rules, {}),
        "bundle": _bundle(problem),
        **{group: template.text(f"conf/{group}/{name}.yaml") for group, name in _COPIED.items()},
    }
    tracking = put(template.text("conf/tracking/mlflow.yaml"), ("experiment",), problem.name)
    return {
        Path("conf/config.yaml"): _config(problem, groups),
        **{Path(path): template.text(path) for path in _PLAIN},
        Path("conf/tracking/mlflow.yaml"): tracking,
        **{Path(f"conf/{group}/{own}.yaml"): text for group, text in groups.items()},
    }


def place(problem: Problem, group: str) -> Path:
    """Return the file of conf/ that holds a group."""
    return Path("conf/config.yaml") if group == "config" else Path(f"conf/{group}/{option(problem)}.yaml")


def _config(problem: Problem, groups: Collection[str]) -> str:
    """Return the framework's own file with other options: those of the problem, of `groups`, and its model."""
    chosen = {**dict.fromkeys(groups, option(problem)), "model": problem.model}
    text = re.sub(
        r"^  - (\w+): (\w+)$",
        lambda default: f"  - {default[1]}: {chosen.get(default[1], default[2])}",
        template.text("conf/config.yaml"),
        flags=re.MULTILINE,
    )
    return put(text, ("name",), problem.name)


def _data(problem: Problem) -> str:
    when, target = problem.timing, problem.target
    lines = [schema("data"), f"# One row of `{problem.observed.named.name}` is one prediction."]
    if when.window:
        window = {"train": "..".join(when.window.train), "holdout": "..".join(when.window.holdout)}
        lines.append(yaml_text.entry("window", window, comment="the last quarter of the labelled rows is held out"))
    else:
        lines.append(yaml_text.entry("split", {"holdout": 0.25}, comment=f"by a hash of unique_key: {when.why}"))
    lines += [
        "",
        "sources:",
        *(line for table in problem.tables for line in _source(table.named.name, table.named.declared)),
    ]
    lines += [
        "",
        yaml_text.entry("observations", problem.observed.named.name),
        yaml_text.entry("unique_key", list(problem.key)),
    ]
    if when.window:
        lines += [
            yaml_text.entry("timezone", "UTC", comment="of local times, of windows, and of hours and weekdays"),
            yaml_text.entry("event_time", when.event_time),
            yaml_text.entry("prediction_lead", "0s", comment="how long before that the prediction is made"),
        ]
    lines += ["", "target:", yaml_text.entry("name", target.name, 2), yaml_text.entry("task", target.task, 2)]
    lines.append(yaml_text.entry("expression", target.expression, 2))
    if target.classes:
        lines.append(yaml_text.entry("classes", list(target.classes), 2))
    if when.window:
        why = "after that the label is known"
        lines.append(yaml_text.entry("known_after", when.window.known_after, 2, why))
    return "\n".join(lines) + "\n"


def _source(name: str, declared: Mapping[str, Any]) -> list[str]:
    lines = [f"  {name}:"]
    for key, value in declared.items():
        if isinstance(value, dict) and value:
            lines += yaml_text.block(key, value, 4)
        else:
            lines.append(yaml_text.entry(key, value, 4))
    return lines


def features(problem: Problem, seen: Mapping[str, str]) -> str:
    """Return conf/features; `seen` is what a first run has shown of features that look like a leak, by their names."""
    alone = {name: f"ranks the labels by {value:.2f} alone" for name, value in gates_text.suspects(problem).items()}
    signs = {**alone, **seen}
    lines = [
        schema("features"),
        "# What the model may know when it predicts: every plain column as it comes.",
        "views:",
        *_hints(problem),
        "  row:",
        "    kind: expression",
        "    features:",
    ]
    for name, expression in problem.features.items():
        if name in signs:
            lines += yaml_text.comment(f"{name} {signs[name]}, which may be a leak. {IF_LATER} {IF_BEFORE}", 6)
        lines.append(yaml_text.entry(name, expression, 6))
    return "\n".join(lines) + "\n"


def _hints(problem: Problem) -> list[str]:
    """Return comments that show how the past of a key, or another table, becomes a feature."""
    lines: list[str] = []
    repeating = suggests_streams(problem)
    if problem.timing.window and repeating:
        by = yaml_text.flow([repeating[0].name])
        lines += [
            f"  # The past of {by} as it was known then; docs/conf.md has every key. Besides `views`:",
            f"  #   streams: {{past: {{table: {problem.observed.named.name}, event_time: {problem.timing.event_time},",
            "  #     available_at: event_time + hours(24)}}",
            f"  # recent: {{kind: rolling, stream: past, keys: {by}, window: 7d,",
            "  #   features: {rows_7d: {aggregate: count}}}",
            f"  # last: {{kind: latest, stream: past, keys: {by}, max_age: 30d,",
            "  #   features: {last_weekday: weekday(event_time)}}",
        ]
    columns = set(problem.observed.table.frame.columns)
    joined = [
        each for each in problem.tables[1:] if columns.issuperset(each.unique.columns) and not each.unique.repeated
    ]
    lines += [f"  # {_lookup(problem, other)}" for other in joined]
    return [line for line in lines if line.isprintable()]


def _lookup(problem: Problem, other: ProfiledTable) -> str:
    """Return a view of every column of another table, to be taken where they are known when the prediction is made."""
    columns = [column for column in other.table.columns if column.name not in other.unique.columns]
    taken = {*problem.observed.table.frame.columns, *problem.features, problem.target.name, EVENT_TIME}
    features: dict[str, str] = {}
    for column in columns:
        if column.type != "time" and roles.privacy(column) != "personal" and column.distinct > 1:
            name = names.slug(column.name, taken | features.keys(), "column")
            features[name] = names.reference(column.name)
    view = {"kind": "lookup", "table": other.named.name, "keys": list(other.unique.columns), "features": features}
    return yaml_text.entry(f"of_{other.named.name}", view)


def _evaluation(problem: Problem) -> str:
    shipped = safe_yaml.parse_yaml(template.text(f"conf/evaluation/{problem.target.task}.yaml"))
    interval: dict[str, Any] = {"resamples": 1000, "confidence": 0.95}
    lines = [schema("evaluation"), yaml_text.entry("metrics", shipped["metrics"]), ""]
    if problem.slices:
        lines += [*yaml_text.block("slices", problem.slices)]
    else:
        lines.append("# slices: {name: column} measures each value of a column by itself; none has rows enough yet.")
    lines.append(yaml_text.entry("slice_min_rows", problem.smallest_slice))
    if problem.timing.window:
        interval = {"cluster": "date(event_time)", **interval}
        lines += ["", yaml_text.entry("interval", interval, comment="rows of one day are resampled together")]
    else:
        lines += ["", yaml_text.entry("interval", interval, comment="each row is resampled by itself")]
    return "\n".join(lines) + "\n"


def purpose(problem: Problem) -> str:
    """Return a sentence that says what is predicted of what."""
    what = problem.target.expression if problem.target.expression.isprintable() else problem.target.name
    return f"Predicts {what} of a row of {problem.observed.named.name}."


def _bundle(problem: Problem) -> str:
    use = f"{purpose(problem)} Say here for whom, and what is done with it."
    limits = ["Rows unlike those that it was trained on. Say here what it must not be used for."]
    card = {"intended_use": use, "limits": limits}
    return "\n".join(
        [
            schema("bundle"),
            yaml_text.entry("on_bad_row", "quarantine"),
            yaml_text.entry("tolerance", 1e-9),
            yaml_text.entry("golden_rows", 20),
            "",
            "card:",
            *(yaml_text.entry(key, value, 2) for key, value in card.items()),
            "",
        ]
    )


def shipped(problem: Problem) -> Sequence[str]:
    """Return the framework's options of models and searches that fit the problem's task."""
    return [
        name
        for name in template.files()
        if name.startswith(("conf/model/", "conf/search/")) and _fits(template.text(name), problem)
    ]


def _fits(text: str, problem: Problem) -> bool:
    numbers = "Regressor" in text or "Ridge" in text
    classes = "Classifier" in text or "Logistic" in text or "/model@" in text or "space:" in text
    return numbers if problem.target.task == "regression" and (numbers or classes) else not numbers
