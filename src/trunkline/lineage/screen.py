"""A chain on one screen: a few lines per link, what is refused in red, what is unknown with how to find out."""

import json
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from trunkline.lineage.chain import Chain, DeclaredParams, Judged, Lineage, Output, RowCounts
from trunkline.pipeline.reports import Verdict
from trunkline.serve.log import Prediction
from trunkline.show import terminal
from trunkline.show.text import clean

KINDS = {"version": "a version", "digest": "a bundle's digest", "commit": "a commit", "request": "a prediction"}
_HOW = {"latest": ", as its latest", "shadow": ", as the shadow", "canary": ", as the canary"}
MOST = 8  # inputs of a prediction, and keys that changed; --json has all of them

_REFUSED, _UNKNOWN, _DIM = "bold red", "yellow", "dim"


def screen(lineage: Lineage) -> Table:
    """Return the chain as a table; the first row says how the name was read."""
    table = terminal.table()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = (
        (
            lineage.asked,
            [
                Text(f"is read as {KINDS[lineage.kind]}; the trunk is {lineage.trunk}", _DIM),
                *(Text(note, _UNKNOWN) for note in lineage.notes),
            ],
        ),
        ("prediction", _prediction(lineage.prediction)),
        ("outcome", _outcomes(lineage.prediction)),
        ("bundle", _bundle(lineage)),
        ("version", _version(lineage)),
        ("signer", _signer(lineage.chain)),
        ("commit", _commit(lineage)),
        ("pull request", _review(lineage)),
        ("gates", _gates(lineage.verdict)),
        ("declared", _declared(lineage.declared)),
        ("data", _data(lineage.data)),
        ("rows", _rows(lineage.rows)),
        ("environment", _environment(lineage)),
        ("runs in", _runs(lineage)),
    )
    for label, lines in rows:
        for number, line in enumerate(lines):
            table.add_row(Text("" if number else label, "bold"), line)
    return table


def _not_known(lineage: Lineage, link: str) -> list[Text]:
    return [Text(lineage.unknown[link], _UNKNOWN)] if link in lineage.unknown else []


def _prediction(row: Prediction | None) -> Iterator[Text]:
    if row is None:
        return
    score = f", {row.problem}" if row.problem else "" if row.score is None else f", score {row.score:g}"
    yield Text(f"{row.request}{score}, {row.time or 'the log does not say when'}, in {clean(row.log)}")
    shown = [f"{key}={value}" for key, value in list(row.inputs.items())[:MOST]]
    more = [f"and {len(row.inputs) - MOST} more"] if len(row.inputs) > MOST else []
    if shown:
        yield Text(", ".join(shown + more), _DIM)
    yield from (Text(f"beside it, {said}", _DIM) for said in row.beside)


def _outcomes(row: Prediction | None) -> Iterator[Text]:
    for number, outcome in enumerate(row.outcomes if row else ()):
        corrected = "before it was corrected: " if number else ""
        value = outcome.value if isinstance(outcome.value, str) else json.dumps(outcome.value)
        yield Text(f"{corrected}{clean(value)}, arrived {outcome.arrived}", _DIM if number else "")


def _bundle(lineage: Lineage) -> Iterator[Text]:
    digest = lineage.prediction.digest if lineage.prediction else None
    announced = lineage.chain.digest if lineage.chain else None
    judged = lineage.verdict.challenger if lineage.verdict else None
    if digest or announced:
        yield Text(f"{digest or announced}")
    elif judged:
        yield Text(f"{judged} (of the commit's verdict)")
    if lineage.chain and lineage.chain.same:
        yield Text(f"is also that of {', '.join(lineage.chain.same)}", _DIM)


def _version(lineage: Lineage) -> list[Text]:
    chain = lineage.chain
    if chain is None:
        return _not_known(lineage, "chain")
    return [Text.assemble((chain.version, "bold cyan"), f", tagged {chain.date} by {chain.tagger}")]


def _signer(chain: Chain | None) -> Iterator[Text]:
    if chain is None:
        return
    if chain.refused:
        yield Text(f"refused: {chain.refused}", _REFUSED)
    else:
        yield Text(f"{chain.signer}: the signature, the tag, the commit, the verdict and all hashes fit", "green")


def _commit(lineage: Lineage) -> Iterator[Text]:
    commit = lineage.commit
    if commit is None:
        return
    yield Text.assemble((commit.hash[:12], "yellow"), f" {commit.date} by {commit.author}: {commit.subject}")
    if not commit.on_trunk:
        style = _REFUSED if lineage.chain else _UNKNOWN
        yield Text("is not in the trunk's history: it was never merged, or history was rewritten", style)


def _review(lineage: Lineage) -> Iterator[Text]:
    review = lineage.review
    if review:
        author = f" by {review.author}" if review.author else ""
        approved = "" if review.approvers is None else f", approved by {', '.join(review.approvers) or 'nobody'}"
        merged = f", merged by {review.merged_by}" if review.merged_by else ""
        yield Text(f"#{review.number}{author}{approved}{merged}")
        yield Text(
            _WITNESS[review.source] + (f"; {review.url}" if review.url else ""),
            _REFUSED if review.source == "tag" else _DIM,
        )
    yield from _not_known(lineage, "review")


_WITNESS = {
    "signed": "as the forge told at the release; signed",
    "tag": "so says the tag, which is refused",
    "forge": "as the forge tells now",
    "message": "as the commit's message names it, which anybody may write",
}


def _gates(judged: Judged | None) -> Iterator[Text]:
    if judged is None:
        return
    blocking = [rule for rule in judged.rules if rule.blocking and rule.verdict != "not_applicable"]
    failed = sum(rule.verdict == "fail" for rule in blocking)
    beside = f"beside {judged.champion}" if judged.champion else "without a champion"
    count = f"{len(blocking) - failed} of {len(blocking)} blocking verdicts pass, {beside}"
    yield Text.assemble((judged.verdict, "green" if judged.verdict == "pass" else _REFUSED), f": {count}")
    shown: dict[str, Verdict] = {}  # of each rule: the first verdict that fails, or else the first
    for rule in blocking:
        if rule.id not in shown or (rule.verdict == "fail" and shown[rule.id].verdict != "fail"):
            shown[rule.id] = rule
    for rule in shown.values():
        text = f"{rule.id}: {rule.reason}"
        yield Text(clean(text), _REFUSED if rule.verdict == "fail" else _DIM, no_wrap=True, overflow="ellipsis")


def _declared(declared: DeclaredParams | None) -> Iterator[Text]:
    if declared is None:
        return
    yield Text(", ".join(f"{key} {value}" for key, value in declared.values.items()))
    if declared.since is None:
        return
    if not declared.changed:
        yield Text(f"no key differs from {declared.since}", _DIM)
    for line in declared.changed[:MOST]:
        yield Text(f"since {declared.since}: {line}")
    if len(declared.changed) > MOST:
        yield Text(f"and {len(declared.changed) - MOST} keys more since {declared.since}", _DIM)


def _data(data: tuple[Output, ...]) -> Iterator[Text]:
    for output in data:
        size = ", ".join(
            f"{count:,} {what}" for count, what in ((output.count, "files"), (output.bytes, "bytes")) if count
        )
        yield Text(f"{output.path}: MD5 {output.md5}{f' ({size})' if size else ''}")
        for name, md5 in output.files or ():
            yield Text(f"  {name}: {md5}", _DIM)
        if output.files is None and output is data[0] and output.md5.endswith(".dir"):
            yield Text("  its files are not known here; run dvc fetch in the commit's tree", _UNKNOWN)


def _rows(rows: RowCounts | None) -> Iterator[Text]:
    if rows is None:
        return
    windows = (("train", rows.train, rows.train_rows), ("holdout", rows.holdout, rows.holdout_rows))
    counted = [
        f"{name} {window}" + ("" if count is None else f": {count:,} rows") for name, window, count in windows if window
    ]
    source = [] if rows.source is None else [f"of {rows.source:,} in the source"]
    yield Text("; ".join(counted + source))


def _environment(lineage: Lineage) -> Iterator[Text]:
    environment = lineage.environment
    if environment is None:
        return
    yield Text(f"{environment.path}: sha256 {environment.sha256}")
    python = [f"Python {environment.python}"] if environment.python else []
    yield Text(", ".join([*python, *(f"{name} {version}" for name, version in environment.libraries.items())]), _DIM)


def _runs(lineage: Lineage) -> Iterator[Text]:
    if lineage.chain is None:
        return
    if not lineage.runs:
        yield Text("nothing, now or ever", _DIM)
    for stay in lineage.runs:
        by = f", by pull request {stay.pull_request}" if stay.pull_request else ""
        if stay.commit and not by:
            by = f", by {stay.commit[:12]}, which names no pull request"
        follows = _HOW.get(stay.how, "")
        until = f"to {stay.until}" if stay.until else "on"
        yield Text(f"{stay.environment} from {stay.since} {until}{follows}{by}")
