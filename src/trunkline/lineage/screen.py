"""A chain on one screen: each link on its lines, what is refused in red, what is not known with how to know it."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from trunkline.lineage.chain import Chain, Declared, Judged, Lineage, Output, Reviewed, Rows, Stay
from trunkline.pipeline.reports import Verdict
from trunkline.serve.log import Prediction
from trunkline.show import terminal
from trunkline.show.text import clean

KINDS = {"version": "a version", "digest": "a bundle's digest", "commit": "a commit", "request": "a prediction"}
MOST = 8  # inputs of a prediction, and keys that changed; --json has all of them

_REFUSED, _UNKNOWN, _DIM = "bold red", "yellow", "dim"


def screen(found: Lineage) -> Table:
    """Return the chain as a table; what was read as what comes first."""
    made = terminal.table()
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    rows = (
        (found.asked, [Text(f"is read as {KINDS[found.kind]}; the trunk is {found.trunk}", _DIM), *_notes(found)]),
        ("prediction", _prediction(found.prediction)),
        ("bundle", _bundle(found)),
        ("version", _version(found)),
        ("signer", _signer(found.chain)),
        ("commit", _commit(found)),
        ("pull request", _review(found)),
        ("gates", _gates(found.verdict)),
        ("declared", _declared(found.declared)),
        ("data", _data(found.data)),
        ("rows", _rows(found.rows)),
        ("environment", _environment(found)),
        ("runs in", _runs(found)),
    )
    for label, lines in rows:
        for place, line in enumerate(lines):
            made.add_row(Text(label if place == 0 else "", "bold"), line)
    return made


def _notes(found: Lineage) -> list[Text]:
    return [Text(note, _UNKNOWN) for note in found.notes]


def _not_known(found: Lineage, link: str) -> list[Text]:
    return [Text(found.unknown[link], _UNKNOWN)] if link in found.unknown else []


def _prediction(row: Prediction | None) -> Iterator[Text]:
    if row is None:
        return
    score = "" if row.score is None else f", score {row.score:g}"
    yield Text(f"{row.request}{score}, {row.time or 'the log does not say when'}, in {clean(row.log)}")
    shown = [f"{key}={value}" for key, value in list(row.inputs.items())[:MOST]]
    more = [f"and {len(row.inputs) - MOST} more"] if len(row.inputs) > MOST else []
    if shown:
        yield Text(", ".join(shown + more), _DIM)


def _bundle(found: Lineage) -> Iterator[Text]:
    digest = found.prediction.digest if found.prediction else None
    announced = found.chain.digest if found.chain else None
    judged = found.verdict.challenger if found.verdict else None
    if digest or announced:
        yield Text(f"{digest or announced}")
    elif judged:
        yield Text(f"{judged} (of the commit's verdict)")
    if found.chain and found.chain.same:
        yield Text(f"is also that of {', '.join(found.chain.same)}", _DIM)


def _version(found: Lineage) -> list[Text]:
    chain = found.chain
    if chain is None:
        return _not_known(found, "chain")
    return [Text.assemble((chain.version, "bold cyan"), f", tagged {chain.date} by {chain.tagger}")]


def _signer(chain: Chain | None) -> Iterator[Text]:
    if chain is None:
        return
    if chain.refused:
        yield Text(f"refused: {chain.refused}", _REFUSED)
    else:
        yield Text(f"{chain.signer}: the signature, the tag, the commit, the verdict and all hashes fit", "green")


def _commit(found: Lineage) -> Iterator[Text]:
    made = found.commit
    if made is None:
        return
    yield Text.assemble((made.hash[:12], "yellow"), f" {made.date} by {made.author}: {made.subject}")
    if not made.on_trunk:
        style = _REFUSED if found.chain else _UNKNOWN
        yield Text("is not in the trunk's history: it was never merged, or history was rewritten", style)


def _review(found: Lineage) -> Iterator[Text]:
    one = found.review
    if one:
        yield Text(f"{_request(one)}{_approved(one)}{f', merged by {one.merged_by}' if one.merged_by else ''}")
        yield Text(
            _WITNESS[one.source] + (f"; {one.url}" if one.url else ""), _REFUSED if one.source == "tag" else _DIM
        )
    yield from _not_known(found, "review")


_WITNESS = {
    "signed": "as the forge told at the release; signed",
    "tag": "so says the tag, which is refused",
    "forge": "as the forge tells now",
    "message": "as the commit's message names it, which anybody may write",
}


def _request(one: Reviewed) -> str:
    return f"#{one.number}" + (f" by {one.author}" if one.author else "")


def _approved(one: Reviewed) -> str:
    if one.approvers is None:
        return ""
    return f", approved by {', '.join(one.approvers) or 'nobody'}"


def _gates(judged: Judged | None) -> Iterator[Text]:
    if judged is None:
        return
    blocking = [rule for rule in judged.rules if rule.blocking and rule.verdict != "not_applicable"]
    failed = sum(rule.verdict == "fail" for rule in blocking)
    beside = f"beside {judged.champion}" if judged.champion else "without a champion"
    count = f"{len(blocking) - failed} of {len(blocking)} blocking verdicts pass, {beside}"
    yield Text.assemble((judged.verdict, "green" if judged.verdict == "pass" else _REFUSED), f": {count}")
    for rule in _first_of_each(blocking):
        text = f"{rule.id}: {rule.reason}"
        yield Text(clean(text), _REFUSED if rule.verdict == "fail" else _DIM, no_wrap=True, overflow="ellipsis")


def _first_of_each(rules: list[Verdict]) -> list[Verdict]:
    """Return a verdict of each rule: the first that fails, or else the first."""
    found: dict[str, Verdict] = {}
    for rule in rules:
        if rule.id not in found or (rule.verdict == "fail" and found[rule.id].verdict != "fail"):
            found[rule.id] = rule
    return list(found.values())


def _declared(one: Declared | None) -> Iterator[Text]:
    if one is None:
        return
    yield Text(", ".join(f"{key} {value}" for key, value in one.told.items()))
    if one.since is None:
        return
    if not one.changed:
        yield Text(f"no key differs from {one.since}", _DIM)
    for line in one.changed[:MOST]:
        yield Text(f"since {one.since}: {line}")
    if len(one.changed) > MOST:
        yield Text(f"and {len(one.changed) - MOST} keys more since {one.since}", _DIM)


def _data(data: tuple[Output, ...]) -> Iterator[Text]:
    for one in data:
        size = ", ".join(f"{count:,} {what}" for count, what in ((one.count, "files"), (one.bytes, "bytes")) if count)
        yield Text(f"{one.path}: MD5 {one.md5}{f' ({size})' if size else ''}")
        for name, md5 in one.files or ():
            yield Text(f"  {name}: {md5}", _DIM)
        if one.files is None and one is data[0] and one.md5.endswith(".dir"):
            yield Text("  its files are not known here; run dvc fetch in the commit's tree", _UNKNOWN)


def _rows(rows: Rows | None) -> Iterator[Text]:
    if rows is None:
        return
    windows = (("train", rows.train, rows.train_rows), ("holdout", rows.holdout, rows.holdout_rows))
    told = [
        f"{name} {window}" + ("" if count is None else f": {count:,} rows") for name, window, count in windows if window
    ]
    source = [] if rows.source is None else [f"of {rows.source:,} in the source"]
    yield Text("; ".join(told + source))


def _environment(found: Lineage) -> Iterator[Text]:
    one = found.environment
    if one is None:
        return
    yield Text(f"{one.path}: sha256 {one.sha256}")
    python = [f"Python {one.python}"] if one.python else []
    yield Text(", ".join([*python, *(f"{name} {version}" for name, version in one.libraries.items())]), _DIM)


def _runs(found: Lineage) -> Iterator[Text]:
    if found.chain is None:
        return
    if not found.runs:
        yield Text("nothing, now or ever", _DIM)
    for one in found.runs:
        yield Text(_stay(one))


def _stay(one: Stay) -> str:
    by = f", by pull request {one.pull_request}" if one.pull_request else ""
    if one.commit and not by:
        by = f", by {one.commit[:12]}, which names no pull request"
    follows = ", as its latest" if one.how == "latest" else ""
    return f"{one.environment} from {one.since} {f'to {one.until}' if one.until else 'on'}{follows}{by}"
