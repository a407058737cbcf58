"""How conf/ of an older version becomes that of this one: groups of another name, and new ones. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkline.core.paths import CONF
from trunkline.init import template

Texts = Mapping[Path, str]
_CONFIG = CONF / "config.yaml"


@dataclass(frozen=True)
class RenamedGroup:
    """A group of conf/ that has another name since a version."""

    version: str
    old: str
    new: str

    def applies(self, groups: set[str]) -> bool:
        """Tell whether conf/ still has the old name."""
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

    def applies(self, groups: set[str]) -> bool:
        """Tell whether conf/ has not got it."""
        return self.new not in groups

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


Migration = RenamedGroup | NewGroup
MIGRATIONS: tuple[Migration, ...] = (
    RenamedGroup("0.1.0", "serving", "bundle"),
    RenamedGroup("0.1.0", "promotion", "deploy"),
    NewGroup("0.1.0", "serving", "flights", after="deploy"),
    NewGroup("0.1.0", "monitoring", "common", after="serving"),
)  # in this order


def migrated(texts: Texts) -> tuple[dict[Path, str], tuple[Migration, ...]]:
    """Return conf/ as this version has it, and what has changed it."""
    done: list[Migration] = []
    for migration in MIGRATIONS:
        groups = set(re.findall(r"^  - (\w+):", texts.get(_CONFIG, ""), flags=re.MULTILINE))
        if migration.applies(groups):
            texts = migration.applied(texts)
            done.append(migration)
    return dict(texts), tuple(done)
