"""Who is to be erased: the value of a column. It is in no message and no commit; a keyed digest stands for it."""

import hmac
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import polars as pl

from trunkline.conf.contract import Contract
from trunkline.conf.serving import Serving
from trunkline.core.errors import UserError, nearest
from trunkline.core.params import Params
from trunkline.core.tables import convert
from trunkline.core.tables.convert import ColumnType
from trunkline.serve.prediction_log import privacy
from trunkline.serve.prediction_log.privacy import Privacy

_DIGITS = 12


@dataclass(frozen=True)
class Subject:
    """A column of conf/contract with its type, and the value that is somebody's; `log` is how logs treat columns."""

    column: str
    kind: ColumnType
    value: str = field(repr=False)
    log: Privacy = field(repr=False)

    @classmethod
    def of(cls, column: str, value: str, params: Params) -> Self:
        """Return a subject of a project.

        Raises UserError for a column that conf/contract lacks, a value that is none of its type, and where no key is
        declared, or the environment lacks it.
        """
        tables = params.group(Contract).tables
        kinds = {name: each.type for table in tables.values() for name, each in table.columns.items()}
        if column not in kinds:
            raise UserError(f"--subject: no column '{column}' in conf/contract{nearest(column, kinds)}")
        declared = params.group(Serving).log
        if declared is None or declared.key is None:
            raise UserError("serving.log.key: is not declared; erased values are named by a digest with that key")
        subject = cls(column, kinds[column], value, Privacy.of(declared, privacy.personal(params)))
        if convert.parse(pl.Series([value]), subject.kind).values[0] is None:
            raise UserError(f"--subject: the value of {column} is not {convert.MEANING[subject.kind]}")
        return subject

    @property
    def digest(self) -> str:
        """What stands for the value: nobody without the key can try values."""
        content = f"erased\0{self.column}\0{self._typed}".encode()
        return hmac.digest(self.log.key, content, "sha256").hex()[:_DIGITS]

    @property
    def name(self) -> str:
        """How messages name the subject."""
        return f"{self.column} {self.digest}"

    @cached_property
    def hashed(self) -> frozenset[str]:
        """What stands for the value in logs that hash the column."""
        return frozenset(filter(None, (self.log.hashed(self.column, text) for text in self._texts)))

    def typed(self) -> Any:
        """Return the value in the column's type."""
        return convert.parse(pl.Series([self.value]), self.kind).values[0]

    def matches(self, values: pl.Series) -> pl.Series:
        """Return which values are the subject's, as they are written or as the column's type reads them."""
        texts = [*self._texts, *self.hashed]
        same = values.cast(pl.String).is_in(texts)
        try:
            read = convert.parse(values, self.kind).values.cast(pl.String).is_in(texts)
        except TypeError:  # hashed in a log, or of another type in another table
            return same.fill_null(value=False)
        return (same | read.fill_null(value=False)).fill_null(value=False)

    def is_in(self, columns: str | None) -> bool:
        """Tell whether columns as JSON have the subject's value."""
        value = None if columns is None else json.loads(columns).get(self.column)
        return value is not None and bool(self.matches(pl.Series([_text(value)]))[0])

    @cached_property
    def _typed(self) -> str:
        return str(convert.parse(pl.Series([self.value]), self.kind).values.cast(pl.String)[0])

    @cached_property
    def _texts(self) -> frozenset[str]:
        return frozenset((self.value, self._typed))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
