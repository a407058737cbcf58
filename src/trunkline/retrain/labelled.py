"""What annotators agree on as one more file of a source, pinned by its sha256: the change of a pull request.

The file has the columns that conf/contract lists of the source, of what came back: what a row is known by, what the
annotators saw of it, the label, and when it was last answered.
"""

import hashlib
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from trunkline.adapters import pulls
from trunkline.adapters.git import remote
from trunkline.conf.data.sources import Files
from trunkline.core.errors import UserError, nearest
from trunkline.pipeline.compose import rewrite
from trunkline.retrain import change
from trunkline.retrain.change import Declaration
from trunkline.serve.labelling.returned import AT
from trunkline.serve.labelling.settle import Agreement, AnsweredRows
from trunkline.serve.labels.file import NUMBER, OutcomesFile
from trunkline.serve.labels.store import OUTCOME
from trunkline.show import differences
from trunkline.show.markdown import code, table, text


@dataclass(frozen=True)
class Accepted:
    """The rows that have an outcome, as texts, with all that came back of them, and why others are refused."""

    rows: pl.DataFrame
    refused: Mapping[int, str]


@dataclass(frozen=True)
class Proposal:
    """One more file of a source, and the text of conf/ that pins it, on top of the trunk's tip."""

    source: str
    path: Path
    tip: str
    rows: int
    new: Mapping[Path, str]
    old: Mapping[Path, str]
    agreement: Agreement
    refused: Mapping[int, str]

    @property
    def branch(self) -> str:
        """The branch: the same rows are the same branch."""
        return f"labels/{self.path.stem.removeprefix('labels-')}"

    @property
    def title(self) -> str:
        """The title of the pull request, and the subject of its commit."""
        return f"data: {self.rows:,} labels by people, in {self.source}"

    @property
    def diff(self) -> str:
        """The change as git would show it."""
        files = sorted(self.new.items())
        return "".join(differences.of_file(path, self.old.get(path), content) for path, content in files)

    @property
    def body(self) -> str:
        """The text of the pull request, in Markdown."""
        which = [(str(number), text(said)) for number, said in self.agreement.conflicts.items()]
        which += [(str(number), text(f"refused: {why}")) for number, why in self.refused.items()]
        left = f"\n\nNot in the file:\n\n{table(('task', 'why'), which)}" if which else ""
        agreed = "\n".join(f"- {text(line)}" for line in self.agreement.text.splitlines())
        return (
            f"{code(self.path.as_posix())} has {self.rows:,} of {self.agreement.tasks:,} tasks, which people have "
            f"labelled; it is one more file of {code(self.source)}, pinned by its sha256.\n\n{agreed}{left}\n"
        )


def accepted(file: OutcomesFile, now: datetime) -> Accepted:
    """Return what can be taken of the answers by now; raises UserError for a file that cannot be read."""
    answered = file.table
    assert isinstance(answered, AnsweredRows)  # noqa: S101  settle reads no other
    file.check()
    parts = list(file.parts(now))
    outcomes = pl.concat([part.outcomes.select(NUMBER, OUTCOME) for part in parts]) if parts else None
    known = pl.DataFrame(pl.from_arrow(answered.content)).drop(file.declared.label.name)
    everything = pl.concat([known, answered.shown], how="horizontal")
    if outcomes is None or outcomes.is_empty():
        raise UserError(f"{answered.path}: no task has an outcome; nothing is proposed")
    rows = everything[(outcomes[NUMBER] - 1).to_list()]
    label = outcomes[OUTCOME].cast(pl.String).alias(file.declared.label.name)
    refused = {number: why for part in parts for number, why in part.refused.items()}
    return Accepted(rows.with_columns(label), refused)


def prepare(root: Path, tip: str, name: str, of: Accepted, agreement: Agreement) -> Proposal | None:
    """Return the change; None where the source has the file already.

    Raises UserError for a source that is no folder of CSV files of the project, and a column that did not come back.
    """
    with change.opened(root, tip) as declaration:
        source = _source(declaration, name)
        content = _columns(declaration, name, source, of.rows).write_csv(separator=source.separator)
        digest = hashlib.sha256(content.encode()).hexdigest()
        file = f"labels-{digest[:12]}.csv"
        if source.files.get(file) == digest:
            return None
        with chdir(declaration.folder):
            texts = rewrite.rewritten(declaration.composed, [(("data", "sources", name, "files", file), digest)])
            old = {path: path.read_text(encoding="utf-8") for path in texts}
    path = Path(source.url, file)
    return Proposal(name, path, tip, of.rows.height, {**texts, path: content}, old, agreement, of.refused)


def committed(root: Path, proposal: Proposal, there: str | None) -> str:
    """Return the commit of a proposal: `there` if it is that, else a new one, which no branch has yet."""
    blobs = {path: remote.blob(root, content) for path, content in proposal.new.items()}
    return pulls.committed(root, proposal.tip, there, blobs, f"{proposal.title}\n\n{proposal.agreement.text}\n")


def _source(declaration: Declaration, name: str) -> Files:
    sources = declaration.project.data.sources
    if name not in sources:
        raise UserError(f"--open: no source '{name}' in conf/data{nearest(name, sources)}")
    source = sources[name]
    if not isinstance(source, Files) or "://" in source.url:
        raise UserError(f"--open: data.sources.{name}: is no folder of files of the project")
    if source.format != "csv" or source.header or source.skip_lines or source.member:
        raise UserError(f"--open: data.sources.{name}: its files are no CSV whose first line names the columns")
    return source


def _columns(declaration: Declaration, name: str, source: Files, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that the contract lists of a source, by their names there."""
    listed = declaration.project.contract.tables[name].columns
    derived = declaration.project.data.derivations(name)
    names = {column: source.keep.get(column, column) for column in listed if column not in derived}
    for there in names.values():
        if there not in rows.columns:
            raise UserError(
                f"contract.tables.{name}: {there}: did not come back from the annotators, who gave "
                f"{', '.join(rows.columns)}; {AT} is when a row was last answered"
            )
    return rows.select(*names.values())
