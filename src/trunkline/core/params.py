"""params.yaml, parsed once: the groups that conf/ declares are taken from it as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import yaml

from trunkline.core import safe_yaml
from trunkline.core.errors import UserError, one_line
from trunkline.core.paths import PARAMS

if TYPE_CHECKING:  # a plan needs no types, and starts sooner without them
    from trunkline.core.values import Group

_Group = TypeVar("_Group", bound="Group")


@dataclass(frozen=True)
class Params:
    """The content of a params.yaml, and where it is from, for messages.

    A group is checked when it is asked for: a stage needs only those that it names in dvc.yaml.
    """

    content: Mapping[str, Any]
    where: Path | str = PARAMS

    @classmethod
    def read(cls, root: Path = Path()) -> Self:
        """Parse the params.yaml of a project; raises UserError where there is none, or it is not a mapping."""
        path = root / PARAMS
        try:
            content = safe_yaml.parse_yaml(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such file; run: trunkline compose") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not YAML: {one_line(error)}; run: trunkline compose") from None
        if not isinstance(content, dict):
            raise UserError(f"{path}: not a mapping of groups; run: trunkline compose")
        return cls(content, path)

    @property
    def name(self) -> str:
        """Name of the model; raises UserError where there is none."""
        if "name" not in self.content:
            raise UserError(f"{self.where}: name: is missing; run: trunkline compose")
        return str(self.content["name"])

    @property
    def seed(self) -> int:
        """Seed of everything that is random; raises UserError where it is no whole number."""
        seed = self.content.get("seed")
        if not isinstance(seed, int) or seed < 0:
            raise UserError(f"{self.where}: seed: must be a whole number of at least 0; run: trunkline compose")
        return seed

    def group(self, group: type[_Group]) -> _Group:
        """Return one group, such as Data; raises UserError that names the first wrong key."""
        return group.of(self.content, self.where)


def dig(value: Any, *keys: Any) -> Any:
    """Return what nested mappings hold at a path of keys; None where the path ends before."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) and isinstance(key, str) else None
    return value
