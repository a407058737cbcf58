"""What is known of a version, under the headings of the technical documentation of the EU AI Act (Annex IV). Pure.

Each section says what this repository proves, and what a person has to write because nothing here can. Nothing is made
up for a heading: a section of which nothing is known says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.adapters.git.documents import mapping
from trunkline.conf.evaluation import WHOLE
from trunkline.core import paths
from trunkline.core.params import dig
from trunkline.lineage.chain import Lineage, Stay
from trunkline.pipeline.reports import Verdict

READ = (paths.PARAMS, paths.SLICES, paths.VALIDATION)
MOST = 40  # groups of the holdout that are listed, by slice and name
HEADINGS = (
    "A general description of the AI system",
    "The elements of the AI system and the process for its development",
    "Monitoring, functioning and control of the AI system",
    "The appropriateness of the performance metrics",
    "The risk management system (Article 9)",
    "Relevant changes made through the lifecycle",
    "Harmonised standards applied",
    "The EU declaration of conformity (Article 47)",
    "Performance in the post-market phase (Article 72)",
)


@dataclass(frozen=True)
class Table:
    """Rows of texts under their headings; `empty` is said where there is no row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "None."


@dataclass(frozen=True)
class Section:
    """A heading of Annex IV: facts as (name, value), tables, and what a person has to write."""

    number: int
    heading: str
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dossier:
    """A version's dossier: `refused` says why its chain does not hold."""

    name: str
    version: str
    refused: str | None
    released: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Evidence:
    """The chain behind a version, the files of its commit, and a report of monitoring, of this bundle or None."""

    lineage: Lineage
    params: Mapping[str, Any]
    slices: Mapping[str, Any]
    validation: Mapping[str, Any]
    monitoring: Mapping[str, Any] | None

    @classmethod
    def of(cls, lineage: Lineage, files: Mapping[Path, bytes], monitoring: Mapping[str, Any] | None) -> "Evidence":
        """Read the files of `READ` as they are in a version's commit; what cannot be read is empty."""
        params, slices, validation = (mapping(files, path) or {} for path in READ)
        return cls(lineage, params, slices, validation, monitoring)


def dossier(evidence: Evidence) -> Dossier:
    """Return the dossier of a version."""
    chain = evidence.lineage.chain
    contents = (_general, _elements, _functioning, _metrics, _risks, _changes, _standards, _conformity, _post_market)
    sections = (
        of(number, heading, evidence)
        for number, (heading, of) in enumerate(zip(HEADINGS, contents, strict=True), start=1)
    )
    return Dossier(
        name=str(evidence.params.get("name")),
        version=chain.version if chain else evidence.lineage.asked,
        refused=chain.refused if chain else "it is no version",
        released=chain.date if chain else "",
        sections=tuple(sections),
    )


def content(of: Dossier) -> dict[str, Any]:
    """Return a dossier as plain content."""
    return asdict(of)


def _general(number: int, heading: str, evidence: Evidence) -> Section:
    chain, params = evidence.lineage.chain, evidence.params
    card, target = dig(params, "bundle", "card") or {}, dig(params, "data", "target") or {}
    facts = {
        "Intended use": card.get("intended_use"),
        "Version": chain and f"{chain.version}, the bundle {chain.digest}",
        "Released": chain and f"{chain.date} by {chain.tagger}",
        "Signed by": chain and (chain.signer or f"nobody who is believed: {chain.refused}"),
        "Predicts": target.get("name") and f"{target['name']}, which is {target.get('expression')}",
        "Task": target.get("task", "binary"),
        "One row is": dig(params, "data", "observations"),
    }
    limits = Table("Limits, and what it is not for", ("limit",), tuple((str(each),) for each in card.get("limits", ())))
    ran = Table(
        "Where it ran", ("environment", "how", "from", "until", "by"), tuple(map(_stay, evidence.lineage.runs)),
        "No environment was declared to run it.",
    )  # fmt: skip
    missing = (
        "the provider's name and address",
        "the hardware that it is meant to run on",
        "instructions for the deployer",
    )
    return Section(number, heading, _known(facts), (limits, ran), missing)


def _stay(stay: Stay) -> tuple[str, ...]:
    by = stay.pull_request or stay.commit or "a release that it follows"
    return stay.environment, stay.how, stay.since, stay.until or "now", by[:12] if by == stay.commit else by


def _elements(number: int, heading: str, evidence: Evidence) -> Section:
    lineage, params = evidence.lineage, evidence.params
    rows, environment, values = lineage.rows, lineage.environment, lineage.declared.values if lineage.declared else {}
    facts = {
        "Estimator": values.get("model._target_"),
        "Seed": values.get("seed"),
        "Commit": lineage.commit and f"{lineage.commit.hash}, {lineage.commit.date}",
        "Learnt from": rows and _rows(rows.train_rows, rows.train),
        "Measured on": rows and _rows(rows.holdout_rows, rows.holdout),
        "Environment": environment and f"{environment.path}, sha256 {environment.sha256}; Python {environment.python}",
        "Libraries": environment and ", ".join(f"{name} {number}" for name, number in environment.libraries.items()),
    }
    data = Table(
        "Data, as DVC has it", ("path", "files", "bytes", "MD5"),
        tuple((each.path, _count(each.count), _count(each.bytes), each.md5) for each in lineage.data),
    )  # fmt: skip
    missing = (
        "the choices and assumptions of the design",
        "how the data was collected and labelled",
        "human oversight measures",
    )
    return Section(number, heading, _known(facts), (data, _checked(evidence), _classes(params)), missing)


def _rows(count: int | None, window: str | None) -> str | None:
    return None if count is None else f"{count:,} rows{f' of {window}' if window else ''}"


def _checked(evidence: Evidence) -> Table:
    rows = (
        (str(name), _count(dig(of, "rows")), _count(dig(of, "quarantined")))
        for name, of in sorted(evidence.validation.items())
    )
    return Table("Checked against the contract", ("table", "rows", "set aside"), tuple(rows))


def _classes(params: Mapping[str, Any]) -> Table:
    """Return the columns that are not public, with the reasons why they may be used."""
    rows = [
        (f"{table}.{name}", privacy, "; ".join(f"{place}: {why}" for place, why in reasons.items()))
        for table, of in sorted((dig(params, "contract", "tables") or {}).items())
        for name, column in sorted((dig(of, "columns") or {}).items())
        if (privacy := str(dig(column, "privacy") or dig(of, "privacy"))) not in ("public", "internal")
        for reasons in [dig(column, "privacy_because") or {}]
    ]
    head = ("column", "class", "declared reasons")
    return Table("Personal data", head, tuple(rows), "No column is declared personal, sensitive or an identifier.")


def _functioning(number: int, heading: str, evidence: Evidence) -> Section:
    environments = dig(evidence.params, "deploy", "environments") or {}
    approvals = tuple((name, str(dig(of, "merge"))) for name, of in sorted(environments.items()))
    log = dig(evidence.params, "serving", "log", "to")
    facts = {"Predictions are logged": f"in {log}" if log else "no: conf/serving declares no log"}
    tables = (
        Table(
            "On the whole holdout", ("metric", "value", "interval"), tuple(_estimates(evidence.slices, WHOLE, WHOLE))
        ),
        Table("By group", ("group", "rows", "metric", "value", "interval"), tuple(_groups(evidence))),
        Table("Who lets a version into an environment", ("environment", "by"), approvals),
    )
    missing = ("foreseeable unintended outcomes and their sources", "what a person sees who oversees it")
    return Section(number, heading, _known(facts), tables, missing)


def _estimates(slices: Mapping[str, Any], name: str, label: str) -> Iterator[tuple[str, str, str]]:
    for metric, estimate in sorted((dig(slices, name, label, "metrics") or {}).items()):
        value, interval = dig(estimate, "value"), dig(estimate, "interval")
        span = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
        yield metric, "not defined" if value is None else f"{value:.4f}", span


def _groups(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    """Yield the first declared metric of each group that was measured."""
    first = next(iter(dig(evidence.params, "evaluation", "metrics") or ()), None)
    groups = [
        (f"{name} {label}", _count(dig(of, "n")), *measured)
        for name, labels in sorted(evidence.slices.items())
        if name != WHOLE
        for label, of in sorted(labels.items())
        for measured in _estimates(evidence.slices, name, label)
        if measured[0] == first
    ]
    yield from groups[:MOST]


def _metrics(number: int, heading: str, evidence: Evidence) -> Section:
    rules = evidence.lineage.verdict.rules if evidence.lineage.verdict else ()
    judged = tuple(_rule(rule) for rule in rules if rule.kind != "fairness")
    verdict = evidence.lineage.verdict and evidence.lineage.verdict.verdict
    table = Table("What was demanded of them", ("rule", "verdict", "why"), judged)
    missing = ("why these metrics are the right ones for this use",)
    return Section(number, heading, _known({"Verdict of the gates": verdict}), (table,), missing)


def _risks(number: int, heading: str, evidence: Evidence) -> Section:
    rules = evidence.lineage.verdict.rules if evidence.lineage.verdict else ()
    fair = Table(
        "Fairness", ("rule", "verdict", "why"), tuple(_rule(rule) for rule in rules if rule.kind == "fairness"),
        "No rule of kind fairness was declared.",
    )  # fmt: skip
    missing = (
        "known and foreseeable risks to health, safety and fundamental rights",
        "the measures against each, and what is left",
    )
    return Section(number, heading, (), (fair,), missing)


def _rule(rule: Verdict) -> tuple[str, str, str]:
    where = f" ({rule.slice})" if rule.slice else ""
    return f"{rule.id}{where}", rule.verdict if rule.blocking else f"{rule.verdict}, warns only", rule.reason


def _changes(number: int, heading: str, evidence: Evidence) -> Section:
    declared, review = evidence.lineage.declared, evidence.lineage.review
    facts = {
        "Pull request": review and f"#{review.number} by {review.author or 'somebody who is not known here'}",
        "Approved by": review and ", ".join(review.approvers or ()),
        "Compared with": declared and declared.since,
    }
    changed = tuple((line,) for line in (declared.changed if declared else ()))
    empty = "Nothing that is declared, or there is no version before."
    missing = ("changes that were determined beforehand",)
    return Section(number, heading, _known(facts), (Table("Declared otherwise", ("key",), changed, empty),), missing)


def _standards(number: int, heading: str, _: Evidence) -> Section:
    return Section(number, heading, missing=("the list of standards applied, or what was done in their place",))


def _conformity(number: int, heading: str, _: Evidence) -> Section:
    return Section(number, heading, missing=("a copy of the declaration",))


def _post_market(number: int, heading: str, evidence: Evidence) -> Section:
    declared, report = dig(evidence.params, "monitoring", "rules"), evidence.monitoring
    plan = (
        "by the rules that the framework brings" if declared is None else f"by {len(declared)} rules of conf/monitoring"
    )
    facts = {"Watched": plan, "Windows of": dig(evidence.params, "monitoring", "window")}
    if report is None:
        missing = ("what monitoring has seen since: pass the JSON of `trunkline monitor --json` with --monitoring",)
        return Section(number, heading, _known(facts), (), missing)
    facts |= {
        "Seen": f"from {report['since']} to {report['as_of']} in {report['environment']}",
        "Answer": report["answer"],
    }
    standings = tuple((str(each["rule"]), str(each["verdict"]), _where(each)) for each in report["rules"])
    alerts = tuple((str(each["id"]), each["severity"], each["since"], each["until"]) for each in report["alerts"])
    tables = (
        Table("Rules", ("rule", "stands", "farthest"), standings),
        Table("Alerts", ("alert", "severity", "from", "until"), alerts),
    )
    return Section(number, heading, _known(facts), tables)


def _where(rule: Mapping[str, Any]) -> str:
    return f"{rule['nearest']}: {rule['value']:.4g}" if rule.get("nearest") and rule.get("value") is not None else ""


def _known(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in facts.items() if value not in (None, ""))


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "not known"
