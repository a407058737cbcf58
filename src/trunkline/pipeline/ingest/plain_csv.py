"""Makes a CSV with a header and commas of one without, or with other separators, or of several side by side.

Scientific tables come so. What is rewritten is then checked and read as any other CSV.
"""

import csv
import io
from collections.abc import Sequence

from trunkline.conf.data.sources import Files, Package
from trunkline.core.errors import UserError


def needed(source: Package | Files) -> bool:
    """Whether a source is not a CSV with a header and commas already."""
    return bool(source.header or source.skip_lines or source.separator != ",")


def rewritten(texts: Sequence[tuple[str, str]], source: Package | Files) -> str:
    """Return one CSV of files, given as their names and their contents.

    Raises UserError for files of another length than the first, or rows of another width than the header.
    """
    tables = []
    for name, text in texts:
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=source.separator, strict=True))
        except csv.Error as error:
            raise UserError(f"{name}: is not valid CSV ({error}); fix it") from None
        tables.append(lines[source.skip_lines :])
    for (name, _), table in zip(texts, tables, strict=True):
        if len(table) != len(tables[0]):
            raise UserError(f"{name}: has {len(table)} rows, but {texts[0][0]} has {len(tables[0])}; fix `beside`")
    rows = [[field for part in parts for field in part] for parts in zip(*tables, strict=True)]
    if source.header and rows and len(rows[0]) != len(source.header):
        raise UserError(f"{texts[0][0]}: has {len(rows[0])} columns, `header` names {len(source.header)}; fix it")
    target = io.StringIO(newline="")
    csv.writer(target, lineterminator="\n").writerows([list(source.header), *rows] if source.header else rows)
    return target.getvalue()
