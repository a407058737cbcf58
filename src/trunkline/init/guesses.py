"""All that was guessed of a problem, each with its reason and its key in conf/: no guess is silent. Pure."""

from collections.abc import Iterator, Mapping

from trunkline.init import contract_text, gates_text, roles, yaml_text
from trunkline.init.gates_text import Rule
from trunkline.init.guess import Guess
from trunkline.init.problem import Problem
from trunkline.init.profile import Column
from trunkline.init.sources import Named

SHOWN = 6  # columns of one kind that are named

_UNUSED = {
    "outcome": "known only after the prediction",
    "identifier": "names a row, and is no feature",
    "constant": "is no feature",
    "empty": "is no feature",
    "text": "is a text of many values, and is no feature",
    "personal": "looks personal, and is no feature",
    "time": "is a time, and is no feature by itself",
}


def guesses(problem: Problem) -> tuple[Guess, ...]:
    """Return every guess, those on what is predicted first."""
    return (
        Guess(
            f"the task is {problem.target.task}",
            f"'{problem.target.expression}' is predicted",
            "data",
            ("target", "task"),
        ),
        *problem.guesses,
        *_rows(problem),
        *_columns(problem),
        *_types(problem),
        *_model(problem),
    )


def rules(given: Mapping[str, Rule]) -> Iterator[Guess]:
    """Yield a guess for each rule of which a person should know why the first run has set it so."""
    for name, rule in given.items():
        if rule.why:
            kept = {key: value for key, value in rule.content.items() if key != "kind"}
            yield Guess(f"the rule {name} has {yaml_text.flow(kept)}", rule.why, "gates", ("rules", name))


def leaks(signs: Mapping[str, str]) -> Iterator[Guess]:
    """Yield a guess for each feature that looks like a leak by what a run has shown of it."""
    for name, sign in signs.items():
        yield Guess(
            f"'{name}' is known before",
            f"it {sign}, which may be a leak",
            "features",
            ("views", "row", "features", name),
        )


def _rows(problem: Problem) -> Iterator[Guess]:
    when, observed = problem.timing, problem.observed
    shared = problem.key != observed.unique.columns
    why = "they are all that is known before, and some rows share them" if shared else "no two rows share their values"
    yield Guess(f"a row is told by {_named(problem.key)}", why, "data", ("unique_key",))
    key = ("contract", ("tables", observed.named.name, "on_duplicate"))
    if observed.unique.repeated:
        share = f"{observed.unique.repeated:.1%} of the rows repeat another one"
        yield Guess("such rows are set aside", share, *key)
    if when.window is None:
        yield Guess("a quarter of the rows is held out by a hash", when.why, "data", ("split",))
        return
    yield Guess(f"rows happen at {when.event_time}", when.why, "data", ("event_time",))
    yield Guess("times are of UTC", "no zone is known", "data", ("timezone",))
    yield Guess("a prediction is made at the time of its row", "nothing says otherwise", "data", ("prediction_lead",))
    late = f"a label is known {when.window.known_after} later"
    yield Guess(late, "nothing says otherwise", "data", ("target", "known_after"))
    yield Guess(f"held out is {'..'.join(when.window.holdout)}", "it is the last quarter", "data", ("window",))


def _columns(problem: Problem) -> Iterator[Guess]:
    for name, role in problem.roles.items():
        if role.role in _UNUSED and name not in problem.timing.columns:
            key = ("tables", problem.observed.named.name, "columns", name)
            yield Guess(f"'{name}' {_UNUSED[role.role]}", role.why, "contract", key)
    for name, strength in gates_text.suspects(problem).items():
        yield Guess(
            f"'{name}' is known before, although it ranks the labels by {strength:.2f} alone",
            "too well may be a leak, which blocks: say here why it is none, or `known: outcome` in conf/contract",
            "gates",
            ("rules", "no_leak"),
        )


def _types(problem: Problem) -> Iterator[Guess]:
    for table in problem.tables:
        key = ("tables", table.named.name, "columns")
        by_kind: dict[str, list[Column]] = {}
        for column in table.table.columns:
            by_kind.setdefault(column.type, []).append(column)
            if column.unreadable:
                what = f"{column.unreadable} values of '{column.name}' are no {column.type}"
                yield Guess(f"{what} and are set aside", "all others are", "contract", (*key, column.name))
            if column.formats:
                what = f"times of '{column.name}' are written as {', '.join(column.formats)}"
                yield Guess(what, "that reads most of them", "contract", (*key, column.name))
            if column.notation:
                yield Guess(f"'{column.name}' is a text", column.notation, "contract", (*key, column.name))
            if privacy := roles.privacy(column):
                yield Guess(f"'{column.name}' is {privacy}", roles.privacy_why(column), "contract", (*key, column.name))
        listed = ", ".join(f"{len(columns)} {kind}" for kind, columns in sorted(by_kind.items()))
        yield Guess(f"{table.named.name} has {listed}", "by their values", "contract", key)
        yield from _kept(table.named)
        nulls = [null for null in table.table.nulls if null]
        if nulls:
            what = f"{_named(tuple(nulls))} means that a value is missing"
            yield Guess(what, "it stands among numbers or times", "data", ("sources", table.named.name, "nulls"))
    top = ("tables", problem.observed.named.name)
    limit = f"{contract_text.quarantine_limit(problem.observed):.0%} of the rows may be set aside"
    yield Guess("limits are half as wide again as what was seen", "new rows differ", "contract", (*top, "columns"))
    yield Guess(limit, "those that are today, and a few", "contract", (*top, "quarantine_limit"))
    yield Guess("tables are internal", "nothing says otherwise", "contract", (*top, "privacy"))
    yield Guess(
        "columns are described by their names", "a person has to write what they mean", "contract", (*top, "columns")
    )


def _kept(named: Named) -> Iterator[Guess]:
    """Yield what is not as in the source: columns that are left out, and those that have another name."""
    key = ("sources", named.name, "keep")
    for name, why in named.left_out.items():
        yield Guess(f"'{name}' of {named.name} is left out", f"it {why}", "data", key)
    for ours, theirs in named.declared.get("keep", {}).items():
        if ours != theirs:
            yield Guess(
                f"'{theirs}' of {named.name} is called '{ours}'", "its own name means something else", "data", key
            )


def _model(problem: Problem) -> Iterator[Guess]:
    rows = problem.labels.drop_nulls().len()
    count = len(problem.features)
    features = "1 feature, the only plain column" if count == 1 else f"{count:,} features, every plain column"
    yield Guess(features, "what they say is known before", "features", ("views",))
    sliced = f"measured by {_named(tuple(problem.slices))}" if problem.slices else "no slice is measured by itself"
    yield Guess(sliced, f"of the columns with {problem.smallest_slice} rows or more each", "evaluation", ("slices",))
    yield Guess(f"the model is {problem.model}", f"{rows:,} rows have a label", "config", ("defaults",))
    yield Guess("production is compared by a margin", "a share of what is lost today", "gates", ("rules", "no_worse"))
    yield Guess("the purpose of the model", "a person has to write it", "bundle", ("card", "intended_use"))


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:SHOWN]) + more
