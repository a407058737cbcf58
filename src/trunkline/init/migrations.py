"""How conf/ of an older version becomes that of this one: groups of another name, new ones, and reasons. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkline.core.paths import CONF
from trunkline.init import template
from trunkline.init.contract_text import GUESSED

Texts = Mapping[Path, str]
_CONFIG = CONF / "config.yaml"


@dataclass(frozen=True)
class RenamedGroup:
    """A group of conf/ that has another name since a version."""

    version: str
    old: str
    new: str

    def applies(self, texts: Texts) -> bool:
        """Tell whether conf/ still has the old name."""
        groups = _groups(texts)
        return self.old in groups and self.new not in groups

    def applied(self, texts: Texts) -> dict[Path, str]:
        """Return conf/ with the new name, as folder, in the defaults, and in experiments."""
        return {
            CONF.joinpath(self.new, *path.parts[2:]) if path.parts[:2] == (CONF.name, self.old) else path: self._text(
                text
            )
            for path, text in texts.items()
        }

    def _text(self, text: str) -> str:
        text = re.sub(rf"^(\s*- (?:override /)?){self.old}:", rf"\g<1>{self.new}:", text, flags=re.MULTILINE)
        text = re.sub(rf"^{self.old}:", f"{self.new}:", text, flags=re.MULTILINE)
        return re.sub(rf"(?<=docs/schemas/){self.old}(?=\.json$)", self.new, text, flags=re.MULTILINE)

    def __str__(self) -> str:
        return f"conf/{self.old} is conf/{self.new} since {self.version}"


@dataclass(frozen=True)
class NewGroup:
    """A group of conf/ that there is since a version, with the option that the framework has; it follows `after`."""

    version: str
    new: str
    option: str
    after: str

    def applies(self, texts: Texts) -> bool:
        """Tell whether conf/ has not got it."""
        return self.new not in _groups(texts)

    def applied(self, texts: Texts) -> dict[Path, str]:
        """Return conf/ with the group's option under the name that the option of `after` has, and in the defaults."""
        default = re.search(rf"^  - {self.after}: (\w+).*$", texts[_CONFIG], flags=re.MULTILINE)
        if default is None:
            return dict(texts)
        config = texts[_CONFIG].replace(default[0], f"{default[0]}\n  - {self.new}: {default[1]}", 1)
        option = template.text(f"conf/{self.new}/{self.option}.yaml")
        return {CONF / self.new / f"{default[1]}.yaml": option, **texts, _CONFIG: config}

    def __str__(self) -> str:
        return f"conf/{self.new} is new in {self.version}"


@dataclass(frozen=True)
class Reasons:
    """Since a version, a sensitive column needs a reason to be a feature or a slice, which every one was by then.

    It is written where a column is on one line, as `trunkline init` writes it; a person has to say what it is.
    """

    version: str
    line = re.compile(r"^(\s+\S.*: \{.*)(privacy: sensitive)(?=[,}])(?!.*privacy_because)", flags=re.MULTILINE)

    def applies(self, texts: Texts) -> bool:
        """Tell whether a column has no reason."""
        return any(self.line.search(text) for text in self._contracts(texts).values())

    def applied(self, texts: Texts) -> dict[Path, str]:
        """Return conf/ with a reason for each such column."""
        because = f"privacy_because: {{feature: '{GUESSED}', slice: '{GUESSED}'}}"
        written = {path: self.line.sub(rf"\1\2, {because}", text) for path, text in self._contracts(texts).items()}
        return {**texts, **written}

    def _contracts(self, texts: Texts) -> Texts:
        return {path: text for path, text in texts.items() if path.parts[:2] == (CONF.name, "contract")}

    def __str__(self) -> str:
        return f"sensitive columns need a reason since {self.version}: conf/contract has a guess, say why"


Migration = RenamedGroup | NewGroup | Reasons
MIGRATIONS: tuple[Migration, ...] = (
    RenamedGroup("0.1.0", "serving", "bundle"),
    RenamedGroup("0.1.0", "promotion", "deploy"),
    NewGroup("0.1.0", "serving", "flights", after="deploy"),
    NewGroup("0.1.0", "monitoring", "common", after="serving"),
    Reasons("0.1.0"),
)  # in this order


def _groups(texts: Texts) -> set[str]:
    return set(re.findall(r"^  - (\w+):", texts.get(_CONFIG, ""), flags=re.MULTILINE))


def migrated(texts: Texts) -> tuple[dict[Path, str], tuple[Migration, ...]]:
    """Return conf/ as this version has it, and what has changed it."""
    done: list[Migration] = []
    for migration in MIGRATIONS:
        if migration.applies(texts):
            texts = migration.applied(texts)
            done.append(migration)
    return dict(texts), tuple(done)
