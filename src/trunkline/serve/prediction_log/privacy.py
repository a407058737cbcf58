"""What becomes of values that tell who somebody is, before they are written: they are hashed with a key, or left out.

A bundle does not know the privacy classes of conf/contract. So they are read from params.yaml, and a feature that is
made of a personal column is personal too.
"""

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trunkline.conf.privacy import personal_names
from trunkline.conf.serving import Log, Treatment
from trunkline.core.errors import UserError
from trunkline.core.params import Params

_SHORTEST = 16  # characters of a key


@dataclass(frozen=True)
class Privacy:
    """How columns are treated: as declared, or where nothing is, by whether they are personal."""

    declared: Mapping[str, Treatment]
    principal: Treatment
    personal: frozenset[str]
    variable: str | None  # of the environment, with the key

    @classmethod
    def of(cls, log: Log, personal: frozenset[str]) -> "Privacy":
        """Return what a log declares; raises UserError where the environment lacks its key."""
        privacy = cls(log.columns, log.principal, personal, log.key)
        if log.key is not None and len(privacy.key) < _SHORTEST:
            raise UserError(
                f"serving.log.key: the environment variable {log.key} has to hold a key, {_SHORTEST} characters or more"
            )
        return privacy

    @cached_property
    def key(self) -> bytes:
        """The key of hashes."""
        return os.environ.get(self.variable or "", "").encode()

    def treatment(self, column: str) -> Treatment:
        """Return what becomes of a column."""
        return self.declared.get(column) or ("leave_out" if column in self.personal else "keep")

    def hashed(self, column: str, value: Any) -> str | None:
        """Return what stands for a value, the same for the same value of a column of any log with this key."""
        if value is None:
            return None
        text = value if isinstance(value, str) else json.dumps(value)
        return hmac.digest(self.key, f"{column}\0{text}".encode(), "sha256").hex()

    def named(self, principal: str | None) -> str | None:
        """Return what the log says of who asked."""
        if self.principal == "leave_out":
            return None
        return self.hashed("principal", principal) if self.principal == "hash" else principal

    def request_columns(self, text: str | None) -> str | None:
        """Return a request's columns as JSON, each treated as its name says."""
        if text is None:
            return None
        treated = {}
        for name, value in json.loads(text).items():
            treatment = self.treatment(name)
            if treatment != "leave_out":
                treated[name] = self.hashed(name, value) if treatment == "hash" else value
        return json.dumps(treated, ensure_ascii=False)


def personal(params: Params) -> frozenset[str]:
    """Return the names of all columns that conf/contract marks, in any table, and of what is computed from these."""
    return personal_names(params.content)
