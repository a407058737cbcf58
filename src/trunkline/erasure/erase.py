"""Searches every place for a subject, and erases what can be erased at once: the log, the online store, the cache.

Each step is whole or not at all, and finds by itself what is left to do: a run that was killed is run again. The
sources follow by a branch; what the trunk's data needs stays in the cache until that is merged and reproduced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from trunkline.adapters.git import ancestry, repository
from trunkline.conf import registry, versions
from trunkline.conf.data import Data
from trunkline.conf.deploy import Deploy
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError
from trunkline.core.params import Params
from trunkline.erasure import held, logged, online, sources
from trunkline.erasure.held import Held, History
from trunkline.erasure.place import GONE, HERE, Place, State
from trunkline.erasure.sources import Branch
from trunkline.erasure.subject import Subject
from trunkline.serve.online.features import OnlineFeatures
from trunkline.serve.online.values import Change
from trunkline.serve.prediction_log.place import Place as Log

_PART = "%Y-%m-%d"


@dataclass(frozen=True)
class OnlineStore:
    """A store of online features, as messages name it, with the views of a bundle, and the tables they are made of."""

    name: str
    online: OnlineFeatures
    tables: Path = paths.VALID

    def removals(self, subject: Subject) -> dict[bytes, Change]:
        """Return what has to become of which values."""
        return online.removals(self.online, self.tables, subject)


@dataclass(frozen=True)
class Site:
    """Where a subject is looked for: a project at the tip of its trunk, its log and its stores, None where it has none.

    `log` and `store` are named as messages name them; `now` is UTC. `theirs` is what origin has of the branch.
    """

    root: Path
    params: Params
    tip: str
    subject: Subject
    history: History
    now: datetime
    log: tuple[str, Log] | None = None
    store: "OnlineStore | None" = None
    theirs: str | None = None

    @cached_property
    def deploy(self) -> Deploy:
        """Which version runs where, and what follows for those that were trained on the subject."""
        return self.params.group(Deploy)

    @cached_property
    def held(self) -> dict[str, tuple[Held, ...] | None]:
        """What each commit of the history keeps of the subject; None where its data is nowhere, so nobody can tell."""
        return {commit: self._held(commit) for commit in dict.fromkeys((*self.history.commits, self.tip))}

    @cached_property
    def needed(self) -> frozenset[str]:
        """The objects that the data of the trunk's tip is made of, among those that hold the subject."""
        return frozenset(each.md5 for each in self.held[self.tip] or ())

    def _held(self, commit: str) -> tuple[Held, ...] | None:
        try:
            return self.history.held(commit)
        except OutsideError:
            return None


def search(site: Site) -> list[Place]:
    """Return every place that holds the subject, and what becomes of each; nothing is written."""
    places = sources.places(site.root, site.params.group(Data).sources, site.subject)
    places += list(_working_tree(site))
    if site.log is not None:
        places += logged.search(site.log[1], site.subject, site.now).places(site.log[0], erased=False)
    if site.store is not None:
        places += _online(
            site.store, len(online.affected(site.store.online, site.store.removals(site.subject))), erased=False
        )
    places += _cache(site, erased=False)
    return [*places, *_remote(site), *_git(site), *_versions(site)]


def erase(site: Site) -> tuple[list[Place], Branch]:
    """Erase what can be erased at once, open the branch, and return what was there with what became of it.

    Raises OutsideError where a place cannot be written: what is done is done, and the rest is done by the next run.
    """
    places = sources.places(site.root, site.params.group(Data).sources, site.subject)
    places += list(_working_tree(site))
    if site.log is not None:
        places += logged.erase(site.log[1], site.subject, site.now).places(site.log[0], erased=True)
    if site.store is not None:
        places += _online(site.store, online.erase(site.store.online, site.store.removals(site.subject)), erased=True)
    places += _cache(site, erased=True)
    branch = sources.propose(site.root, site.tip, site.subject, site.theirs)
    return [*places, *_remote(site), *_git(site), *_versions(site)], branch


def export(site: Site) -> list[dict[str, Any]]:
    """Return all rows of the subject: of the sources as ingest has read them, the log, its outcomes, and the store."""
    rows: list[dict[str, Any]] = []
    for name in site.params.group(Data).sources:
        path = site.root / paths.RAW / f"{name}.parquet"
        table = held.rows(path, site.subject) if path.is_file() else None
        rows += [] if table is None else [{"place": f"source {name}", **row} for row in table.to_dicts()]
    if site.log is not None:
        rows += logged.search(site.log[1], site.subject, site.now, export=True).rows
    if site.store is not None:
        values = online.affected(site.store.online, site.store.removals(site.subject))
        rows += [{"place": "online store", "key": key.hex(), "value": value.hex()} for key, value in values.items()]
    return rows


def _working_tree(site: Site) -> Iterator[Place]:
    for path, count in held.working_tree(site.root, site.subject).items():
        yield Place("working tree", path.as_posix(), count, "merge", "made anew by dvc repro, of the branch's sources")


def _online(store: OnlineStore, count: int, *, erased: bool) -> list[Place]:
    if not count:
        return []
    state, then = (GONE, "were removed") if erased else (HERE, "are removed")
    return [Place("online store", store.name, count, state, f"values of entities and events {then}")]


def _objects(site: Site) -> dict[str, Held]:
    return {each.md5: each for of in site.held.values() for each in of or ()}


def _cache(site: Site, *, erased: bool) -> list[Place]:
    """Return what the cache has, after the objects that the trunk does not need were deleted, if they are to be."""
    files = {md5: path for md5 in _objects(site) if (path := site.history.cached(md5)) is not None}
    free = {md5: path for md5, path in files.items() if md5 not in site.needed}
    if erased:
        for path in free.values():
            path.unlink(missing_ok=True)
    state, then = (GONE, "were deleted") if erased else (HERE, "are deleted: the trunk does not need them")
    needed = len(files) - len(free)
    return [
        *([Place("cache", f"{len(free):,} objects", _rows(site, free), state, then)] if free else []),
        *(
            [Place("cache", f"{needed:,} objects", _rows(site, site.needed), "merge", "deleted by the next run")]
            if needed
            else []
        ),
    ]


def _rows(site: Site, objects: Any) -> int:
    counted = (_objects(site)[md5].rows for md5 in objects)
    return sum(filter(None, counted))


def _remote(site: Site) -> list[Place]:
    """Return what the remote has: it is shared, so nothing is deleted there."""
    written = {md5: at for md5 in _objects(site) if (at := site.history.remains(md5)) is not None}
    unknown = [commit for commit, of in site.held.items() if of is None]
    places = []
    if written:
        keep = site.deploy.erasure.remote
        until = "until somebody deletes them (dvc gc --cloud); deploy.erasure.remote declares a rule of the store"
        if keep is not None:
            until = f"until {max(written.values()) + keep:{_PART}}, by the rule that deploy.erasure.remote declares"
        places.append(Place("remote", f"{len(written):,} objects", _rows(site, written), "kept", until))
    if unknown:
        then = "nobody can tell without their data: dvc fetch --all-commits, or its deletion is the erasure"
        places.append(Place("remote", f"the data of {len(unknown):,} commits, which is not here", None, "kept", then))
    return places


def _git(site: Site) -> list[Place]:
    return sources.in_git(site.root, site.params.group(Data).sources, site.subject)


def _versions(site: Site) -> list[Place]:
    """Return the released versions that were trained on the subject, and what conf/deploy's policy asks of them."""
    name = str(site.params.content["name"])
    tags = {tag.name: tag.commit for tag in ancestry.annotated(site.root)}
    released = versions.of(name, tags)
    running = _running(site, name, released)
    places = []
    for version in released:
        of = site.held.get(tags[version.tag]) or _held_at(site, tags[version.tag])
        if of is None:
            places.append(
                Place("version", version.tag, None, "owner", "nobody can tell without its data: dvc fetch -T")
            )
        elif of:
            rows = sum(filter(None, (each.rows for each in of if each.path.is_relative_to(paths.RAW))))
            state, then = _policy(site.deploy.erasure.retrain, running.get(version, []))
            places.append(Place("version", version.tag, rows, state, then))
    return places


def _held_at(site: Site, commit: str) -> tuple[Held, ...] | None:
    """Return what a version's commit keeps: it may be one that did not change dvc.lock."""
    try:
        return site.history.held(commit)
    except OutsideError:
        return None


def _running(site: Site, name: str, released: tuple[Version, ...]) -> dict[Version, list[str]]:
    """Return the environments that run a version, or try one, at the trunk's tip."""
    text = repository.files_at(site.root, [site.tip], [paths.REGISTRY])[site.tip].get(paths.REGISTRY)
    if text is None:
        return {}
    arms = registry.parse(text.decode(), name, paths.REGISTRY).resolve(released)
    running: dict[Version, list[str]] = {}
    for environment, each in arms.items():
        for version in filter(None, (each.current, each.candidate)):
            running.setdefault(version, []).append(environment)
    return running


def _policy(retrain: str, environments: list[str]) -> tuple[State, str]:
    where = " and ".join(environments)
    if not environments:
        return "kept", "was trained on them and runs nowhere; its tag and its bundle remain"
    if retrain == "now":
        return "owner", f"was trained on them and runs in {where}: release one without them, and promote it"
    if retrain == "next":
        return "kept", f"was trained on them and runs in {where}, until the next one replaces it"
    return "kept", f"was trained on them and runs in {where}; deploy.erasure.retrain asks nothing of it"
