"""The versions that a clone knows, and whether each is believed; trace and audit build on them.

Who may sign is read at the trunk's tip, so that a working tree cannot add a signer, and a bare clone is enough.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trunkline.adapters.git import ancestry, repository
from trunkline.adapters.git.ancestry import GitTag, Trunk
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.conf import versions
from trunkline.conf.deploy import Deploy
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.params import Params
from trunkline.release import message, verify
from trunkline.release.provenance import Announced
from trunkline.release.verify import RefusedError
from trunkline.show.text import clean


@dataclass(frozen=True)
class Dated:
    """A version, and when its tag was made (ISO 8601)."""

    version: Version
    date: str


@dataclass(frozen=True)
class Releases:
    """The annotated tags of a model's versions, what those announce that can be read, and what the trunk declares."""

    name: str
    branch: str
    trunk: Trunk
    promotion: Deploy
    tags: Mapping[Version, GitTag]
    light: tuple[Version, ...]

    @cached_property
    def announced(self) -> dict[Version, Announced]:
        """What each tag's message announces, of those that are messages of a release."""
        announced = {}
        for version, tag in self.tags.items():
            try:
                announced[version] = message.parse_message(tag.message)
            except UserError:
                continue
        return announced

    @cached_property
    def digests(self) -> dict[str, tuple[Version, ...]]:
        """The versions of each bundle, oldest first."""
        by_digest: dict[str, list[Version]] = defaultdict(list)
        for version, announced in sorted(self.announced.items()):
            by_digest[announced.bundle].append(version)
        return {digest: tuple(same) for digest, same in by_digest.items()}

    @property
    def dated(self) -> tuple[Dated, ...]:
        """The versions and when they were released."""
        return tuple(Dated(version, tag.date) for version, tag in sorted(self.tags.items()) if tag.date)

    def verified(self, folder: Path, version: Version) -> tuple[str | None, str | None]:
        """Return who signed a version; or None, and why it is refused; raises UserError as `verifying.chain` does."""
        try:
            return verify.chain(folder, version, self.promotion.signers).signer, None
        except (RefusedError, OutsideError) as error:
            lines = (line.removeprefix(f"{version}: ") for line in str(error).splitlines())
            return None, clean("; ".join(lines))


def releases(folder: Path, branch: str) -> Releases:
    """Return the versions of the model whose params.yaml is at the trunk's tip; raises UserError without one."""
    trunk = ancestry.trunk(folder, branch)
    params = Snapshot(folder, trunk.tip).mapping(paths.PARAMS)
    where = f"{paths.PARAMS} at the tip of {trunk.ref}"
    if not isinstance(params.get("name"), str):
        raise UserError(f"{where}: has no name of a model; run: trunkline compose, and merge what it writes")
    promotion = promoted(params)
    if promotion is None:
        raise UserError(f"{where}: deploy: is no such group; run: trunkline compose --check")
    tags = [(version, tag) for tag in ancestry.tags(folder) if (version := Version.of_tag(tag.name))]
    ours = [(version, tag) for version, tag in tags if version.name == params["name"]]
    light = tuple(sorted(version for version, tag in ours if not tag.annotated))
    return Releases(
        params["name"], branch, trunk, promotion, {version: tag for version, tag in ours if tag.annotated}, light
    )


def newest_proven(folder: Path, params: Params) -> str | None:
    """Return the commit of the newest version behind HEAD that a declared signer signed; None without one.

    Its results were computed by whoever released it. Raises UserError for a wrong group of params.yaml.
    """
    signers = params.group(Deploy).signers
    tags = {tag.name: tag for tag in ancestry.annotated(folder)}
    for version in reversed(versions.of(params.name, tags)):
        commit = tags[version.tag].commit
        try:
            if repository.is_ancestor(folder, commit, "HEAD") and verify.chain(folder, version, signers):
                return commit
        except RefusedError:
            continue
    return None


def promoted(params: Mapping[str, Any]) -> Deploy | None:
    """Return what a params.yaml declares of environments; None if that cannot be understood."""
    try:
        return Deploy.parse(params.get(Deploy.key))
    except ValidationError:
        return None
