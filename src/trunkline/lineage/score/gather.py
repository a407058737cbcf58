"""Reads what a score is of: the files of a commit, its history, and the tags that hold. Nothing is fetched or asked."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git import ancestry, repository
from trunkline.adapters.git.documents import mapping
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy import history
from trunkline.lineage.audit import gather as audit
from trunkline.lineage.audit.gather import Asked
from trunkline.lineage.score.project import READ, Project, Released, is_workflow
from trunkline.release import releases, verify
from trunkline.release.verify import RefusedError
from trunkline.show.text import clean

CODE = ("src", "stages")
RETRAINING = re.compile(r"^Declares: [0-9a-f]{40,64} conf/data/", re.MULTILINE)
BEGINNING = "1970-01-01"


def read(folder: Path, name: str, trunk: str) -> Project:
    """Return a project as a commit has it; raises UserError for a name that is none."""
    commit = repository.resolve(folder, name)
    if commit is None:
        raise UserError(f"{clean(name)}: no commit has this name; git log lists those that have one")
    names = frozenset(repository.names_at(folder, commit))
    wanted = [*READ, *(Path(each) for each in sorted(names) if is_workflow(each))]
    files = repository.files_at(folder, [commit], wanted)[commit]
    project = str((mapping(files, paths.PARAMS) or {}).get("name"))
    past = _Past(folder, commit)
    return Project(
        commit=commit,
        names=names,
        files=files,
        versions=tuple(past.released(project)),
        changes=history.changes(folder, commit, project),
        retrained=past.retrained(),
        featured=past.featured(),
        audited=_audited(folder, trunk),
    )


@dataclass(frozen=True)
class _Past:
    """What was before a commit, and the commit itself."""

    folder: Path
    commit: str

    def released(self, name: str) -> Iterator[Released]:
        """Yield the versions of commits before this one that hold by the signers of their own commit, oldest first."""
        tags = {version: tag for tag in ancestry.annotated(self.folder) if (version := Version.of_tag(tag.name))}
        for version, tag in sorted(tags.items(), key=lambda each: each[0]):
            if version.name != name or not self._has(tag.commit):
                continue
            files = repository.files_at(self.folder, [tag.commit], [paths.PARAMS])[tag.commit]
            declared = releases.promoted(mapping(files, paths.PARAMS) or {})
            try:
                if declared:
                    review = verify.chain(self.folder, version, declared.signers).run.review
                    yield Released(tag.name, review.approvers if review else ())
            except RefusedError:
                continue

    def retrained(self) -> str | None:
        """Return the newest commit that `trunkline retrain` has proposed."""
        commits = ancestry.commits(self.folder, self._changing(Path("conf/data")))
        return next((each.hash for each in commits.values() if RETRAINING.search(each.message)), None)

    def featured(self) -> str | None:
        """Return the newest commit that changed conf/features and no code, beside the first one."""
        for commit in self._changing(Path("conf/features")):
            before = repository.resolve(self.folder, f"{commit}^")
            changed = repository.changed_between(self.folder, before, commit) if before else CODE
            if not any(repository.within(name, CODE) for name in changed):
                return commit
        return None

    def _changing(self, path: Path) -> list[str]:
        """Return the commits that changed a file or folder, newest first."""
        return [each for each in reversed(ancestry.that_changed(self.folder, path)) if self._has(each)]

    def _has(self, commit: str) -> bool:
        return repository.is_ancestor(self.folder, commit, self.commit)


def _audited(folder: Path, trunk: str) -> str | None:
    """Return why an audit of the whole history of the trunk finds it at fault; None if it does not."""
    try:
        audited = audit.audited(folder, audit.period(BEGINNING, None), trunk, Asked(), None)
    except (UserError, OutsideError) as error:
        return str(error)
    if audited.violations:
        return f"{len(audited.violations)} violations"
    return None if audited.events else "nothing has been released"
