"""A range of the trunk's history: its commits with what they committed, and the versions that were released of them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git import ancestry, documents, repository
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.lineage.openlineage import READ, Step
from trunkline.release import releases, verify
from trunkline.release.verify import RefusedError, VerifiedVersion
from trunkline.show.text import clean


@dataclass(frozen=True)
class History:
    """Commits of a first-parent line that changed dvc.lock, oldest first, and the versions of its commits."""

    steps: tuple[Step, ...]
    released: tuple[VerifiedVersion, ...]


def read(folder: Path, tip: str, since: str | None) -> History:
    """Return the history up to a commit, after another one; raises UserError for a name that is no commit."""
    end, start = _commit(folder, tip), _commit(folder, since) if since else None
    commits = ancestry.first_parents(folder, end, [paths.LOCK], since=start)[::-1]
    files = repository.files_at(folder, [*(each.hash for each in commits), *filter(None, [start])], READ)
    former = [files[start] if start else None, *(files[each.hash] for each in commits)]
    steps = [Step(commit, files[commit.hash], before) for commit, before in zip(commits, former, strict=False)]
    inside = {*ancestry.line(folder, end)} - {*(ancestry.line(folder, start) if start else ())}
    return History(tuple(steps), tuple(_released(folder, inside)))


def _commit(folder: Path, name: str) -> str:
    commit = repository.resolve(folder, name)
    if commit is None:
        raise UserError(
            f"{clean(name)}: no commit has this name; git branch --all and git tag list those that have one"
        )
    return commit


def _released(folder: Path, commits: Collection[str]) -> Iterator[VerifiedVersion]:
    """Yield the versions of commits whose tags hold by the signers that the commit itself declares."""
    tags = [(version, tag) for tag in ancestry.annotated(folder) if (version := Version.of_tag(tag.name))]
    for version, tag in sorted(tags, key=lambda each: each[0]):
        if tag.commit not in commits:
            continue
        files = repository.files_at(folder, [tag.commit], [paths.PARAMS])[tag.commit]
        declared = releases.promoted(documents.mapping(files, paths.PARAMS) or {})
        try:
            if declared:
                yield verify.chain(folder, version, declared.signers)
        except RefusedError:
            continue
