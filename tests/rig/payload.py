"""What the forge tells a workflow about the event that started it."""

from dataclasses import dataclass
from typing import Any

from tests.rig.api import Api
from tests.rig.state import Event


@dataclass(frozen=True)
class Occasion:
    """An event with what it means for a run: the commit that is run, and the commit that is judged."""

    event: Event
    payload: dict[str, Any]
    sha: str
    judged: str
    ref: str
    changed: tuple[str, ...]
    fork: bool


def occasion(api: Api, event: Event) -> Occasion | None:
    """Return what runs of an event get; None where the forge starts none: a conflict, or a branch that is gone."""
    state = api.state
    common = {"repository": api.repository(state.upstream.name, "full-repository"), "sender": api.user(event.actor)}
    payload = common | ({"action": event.action} if event.action else {})
    if event.name.startswith("pull_request"):
        return of_pull(api, event, payload)
    if event.name == "push":
        return of_push(api, event, payload)
    if event.name == "merge_group":
        group = {
            "head_sha": event.after,
            "head_ref": event.ref,
            "base_sha": event.before,
            "base_ref": "refs/heads/main",
        }
        changed = tuple(state.upstream.changed(event.before, event.after))
        return Occasion(event, payload | {"merge_group": group}, event.after, event.after, event.ref, changed, False)
    sha = state.upstream.sha("refs/heads/main")
    if sha is None:
        return None
    if event.run is not None:
        payload |= {"workflow_run": api.run(event.run), "workflow": {"name": event.run.name, "path": event.run.path}}
    return Occasion(event, payload, sha, sha, "refs/heads/main", (), False)


def of_pull(api: Api, event: Event, payload: dict[str, Any]) -> Occasion | None:
    """Return what runs of a pull request get: they run its merge with the base, and judge its head.

    Those of pull_request_target run the trunk's own files, with the trunk's rights.
    """
    pull, upstream = event.pull, api.state.upstream
    if pull is None or pull.merge_sha is None:
        return None
    payload |= {"number": pull.number, "pull_request": api.pull(pull)}
    if event.label:
        payload["label"] = api.label(event.label)
    changed = tuple(upstream.changed(upstream.base_of(pull.base_sha, pull.head_sha), pull.head_sha))
    if event.name == "pull_request_target":
        sha = upstream.sha("refs/heads/main") or pull.base_sha
        return Occasion(event, payload, sha, pull.head_sha, "refs/heads/main", changed, False)
    ref, fork = f"refs/pull/{pull.number}/merge", pull.head != upstream
    return Occasion(event, payload, pull.merge_sha, pull.head_sha, ref, changed, fork)


def of_push(api: Api, event: Event, payload: dict[str, Any]) -> Occasion | None:
    """Return what runs of a push get."""
    upstream, zero = api.state.upstream, "0" * 40
    if event.after == zero:
        return None
    sha = upstream.sha(
        event.after
    )  # of an annotated tag, which `after` would be, act would take its own object for GITHUB_SHA
    if sha is None:
        return None
    before = event.before if event.before != zero else None
    trunk = upstream.sha("refs/heads/main")
    if before is None and trunk not in (None, sha):
        before = upstream.base_of(str(trunk), sha)
    changed = upstream.changed(before, sha) if before else upstream.files(sha, ".")
    facts = {"ref": event.ref, "before": event.before, "after": sha, "created": event.before == zero}
    payload |= facts | {"deleted": False, "head_commit": {"id": sha}, "pusher": {"name": event.actor}}
    return Occasion(event, payload, sha, sha, event.ref, tuple(changed), False)
