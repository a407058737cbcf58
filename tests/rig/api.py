"""The calls of the forge's API about pull requests: each reads or changes the state, and answers as the forge does."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.rig.openapi import REPOSITORY, Description
from tests.rig.repository import git
from tests.rig.state import Event, Pull, Record, Run, State, Token


class RefusedError(Exception):
    """The forge says no, with a status and a message."""

    def __init__(self, status: int, message: str, *details: str) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, details


@dataclass(frozen=True)
class Asked:
    """A request that the description admits and the token allows."""

    token: Token
    values: Mapping[str, Any]
    query: Mapping[str, str]
    content: Any


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[["Api", Asked], Answer]
HANDLERS: dict[tuple[str, str], tuple[tuple[str, ...], Handler]] = {}


def call(method: str, path: str, *scopes: str) -> Callable[[Handler], Handler]:
    """Declare what answers a call, and the permissions of which one is needed."""

    def register(handler: Handler) -> Handler:
        HANDLERS[method, REPOSITORY + path] = scopes, handler
        return handler

    return register


def overlaid(base: Any, known: Any) -> Any:
    """Lay what is known over a skeleton."""
    if isinstance(base, dict) and isinstance(known, dict):
        return base | {key: overlaid(base.get(key), value) for key, value in known.items()}
    return known


class Api:
    """Answers calls out of the state."""

    def __init__(self, state: State, description: Description, root: str) -> None:
        self.state, self.description, self.root = state, description, root

    def shown(self, schema: str, **known: Any) -> dict[str, Any]:
        """Return an object of the description with what the state knows of it."""
        return dict(overlaid(self.description.skeleton(schema), known))

    def user(self, login: str) -> dict[str, Any]:
        """Return a user or a bot."""
        kind = "Bot" if login.endswith("[bot]") else "User"
        return self.shown("simple-user", login=login, id=sum(login.encode()), type=kind)

    def repository(self, name: str, schema: str = "minimal-repository") -> dict[str, Any]:
        """Return a repository."""
        owner, _, short = name.partition("/")
        fork = name != self.state.upstream.name
        about = {"full_name": name, "name": short, "owner": self.user(owner), "fork": fork, "private": True}
        return self.shown(schema, **about, default_branch="main", id=sum(name.encode()))

    def commit(self, sha: str) -> dict[str, Any]:
        """Return a commit."""
        git_user = {"name": "Somebody", "email": "somebody@example.org", "date": "2026-01-01T00:00:00Z"}
        inner = {"author": git_user, "committer": git_user}
        return self.shown(
            "commit", sha=sha, commit=inner, author=self.user("somebody"), committer=self.user("somebody")
        )

    def label(self, name: str) -> dict[str, Any]:
        """Return a label."""
        return self.shown("label", name=name, id=sum(name.encode()), color="ededed", description="")

    def pull(self, pull: Pull, schema: str = "pull-request") -> dict[str, Any]:
        """Return a pull request."""
        name, upstream = pull.head.name, self.state.upstream.name
        head = {"ref": pull.head_ref, "sha": pull.head_sha, "label": f"{name.partition('/')[0]}:{pull.head_ref}"}
        base = {"ref": pull.base_ref, "sha": pull.base_sha, "label": f"{upstream.partition('/')[0]}:{pull.base_ref}"}
        known = {
            "id": 1000 + pull.number,
            "number": pull.number,
            "title": pull.title,
            "body": pull.body,
            "state": pull.state,
            "draft": False,
            "user": self.user(pull.user),
            "labels": [self.label(each) for each in pull.labels],
            "head": head | {"repo": self.repository(name, "repository"), "user": self.user(name.partition("/")[0])},
            "base": base | {"repo": self.repository(upstream, "repository"), "user": self.user("acme")},
            "merge_commit_sha": pull.merge_sha,
            "created_at": pull.created,
            "merged_at": pull.merged_at,
            "auto_merge": pull.auto and self.auto_merge(pull.auto.user),
            "node_id": f"PR_{pull.number}",
            "url": f"{self.root}/api/v3/repos/{upstream}/pulls/{pull.number}",
            "html_url": f"{self.root}/{upstream}/pull/{pull.number}",
        }
        if schema == "pull-request":
            known |= {"merged": pull.merged, "mergeable": pull.merge_sha is not None}
            known["merged_by"] = pull.merged_by and self.user(pull.merged_by)
        return self.shown(schema, **known)

    def auto_merge(self, user: str) -> dict[str, Any]:
        """Return how a pull request is to be merged when it is ready."""
        return self.shown("auto-merge", enabled_by=self.user(user), merge_method="merge")

    def run(self, run: Run) -> dict[str, Any]:
        """Return a run of a workflow; pull requests of forks are not named there, as at the forge."""
        own = run.head_repository == self.state.upstream.name
        pulls = [self.run_pull(self.state.pulls[number]) for number in run.pulls if own]
        return self.shown(
            "workflow-run",
            id=run.id,
            artifacts_url=f"{self.root}/api/v3/repos/{self.state.upstream.name}/actions/runs/{run.id}/artifacts",
            name=run.name,
            path=run.path,
            event=run.event,
            status=run.status,
            conclusion=run.conclusion,
            head_sha=run.head_sha,
            head_branch=run.head_branch,
            run_attempt=run.attempt,
            pull_requests=pulls,
            actor=self.user(run.actor),
            created_at=run.created,
            repository=self.repository(self.state.upstream.name),
            head_repository=self.repository(run.head_repository),
            html_url=f"{self.root}/{self.state.upstream.name}/actions/runs/{run.id}",
        )

    def run_pull(self, pull: Pull) -> dict[str, Any]:
        """Return a pull request as a run names it."""
        head, base = {"ref": pull.head_ref, "sha": pull.head_sha}, {"ref": pull.base_ref, "sha": pull.base_sha}
        return self.shown("pull-request-minimal", id=1000 + pull.number, number=pull.number, head=head, base=base)

    def record(self, schema: str, record: Record, **more: Any) -> dict[str, Any]:
        """Return something that was remembered."""
        times = {"created_at": record.created, "updated_at": record.updated}
        return self.shown(schema, id=record.id, **times, **record.content, **more)

    def comment(self, record: Record) -> dict[str, Any]:
        """Return a comment."""
        place = f"{self.root}/{self.state.upstream.name}/pull/{record.at}#issuecomment-{record.id}"
        return self.record("issue-comment", record, user=self.user(record.user), html_url=place)

    def check(self, record: Record) -> dict[str, Any]:
        """Return a check run; it has its own names for its times."""
        known = record.content | {"started_at": record.created, "head_sha": record.at, "id": record.id}
        known["completed_at"] = record.updated if known.get("conclusion") else None
        return self.shown("check-run", **known)

    def artifact(self, record: Record) -> dict[str, Any]:
        """Return an artifact, without its content."""
        known = {"name": record.content["name"], "size_in_bytes": len(record.content["zip"]), "expired": False}
        run = self.state.runs[record.at]
        source = {"id": run.id, "head_branch": run.head_branch, "head_sha": run.head_sha}
        address = f"{self.root}/api/v3/repos/{self.state.upstream.name}/actions/artifacts/{record.id}"
        places = {"url": address, "archive_download_url": f"{address}/zip"}
        return self.shown("artifact", id=record.id, workflow_run=source, created_at=record.created, **known, **places)

    def found_pull(self, number: Any) -> Pull:
        """Return a pull request by its number."""
        if int(number) not in self.state.pulls:
            raise RefusedError(404, "Not Found")
        return self.state.pulls[int(number)]

    def commented(self, asked: Asked, level: str) -> int:
        """Return the number of the issue or pull request whose comments are asked for; an issue takes its own right."""
        number = int(asked.values["issue_number"])
        if number not in self.state.issues:
            return self.found_pull(number).number
        if not asked.token.allows(f"issues:{level}"):
            raise RefusedError(403, "Resource not accessible by integration")
        return number

    def found(self, kind: str, number: Any) -> Record:
        """Return a record by its number."""
        record = self.state.find(kind, int(number))
        if record is None:
            raise RefusedError(404, "Not Found")
        return record

    def found_sha(self, revision: str) -> str:
        """Return the commit that a branch, tag or hash names."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", f"refs/{revision}", revision)
        for name in names:
            if sha := self.state.upstream.sha(name):
                return sha
        raise RefusedError(422, f"No commit found for SHA: {revision}")

    def paged(self, asked: Asked, items: Iterable[Any], key: str | None = None) -> Answer:
        """Return one page of a list, with the address of the next."""
        items = list(items)
        size, page = min(int(asked.query.get("per_page", 30)), 100), int(asked.query.get("page", 1))
        content: Any = items[(page - 1) * size : page * size]
        headers = {"X-Has-Next": "yes"} if page * size < len(items) else {}
        if key is not None:
            content = {"total_count": len(items), key: content}
        return Answer(content, headers=headers)


@call("GET", "", "metadata:read")
def repository(api: Api, asked: Asked) -> Answer:
    return Answer(api.repository(api.state.upstream.name, "full-repository"))


@call("GET", "/pulls", "pull-requests:read")
def pulls(api: Api, asked: Asked) -> Answer:
    state, head, base = (asked.query.get(name) for name in ("state", "head", "base"))
    found = [api.pull(pull, "pull-request-simple") for pull in api.state.pulls.values()]
    chosen = [
        item
        for item in reversed(found)
        if (state == "all" or item["state"] == (state or "open"))
        and head in (None, item["head"]["label"])
        and base in (None, item["base"]["ref"])
    ]
    return api.paged(asked, chosen)


@call("POST", "/pulls", "pull-requests:write")
def open_pull(api: Api, asked: Asked) -> Answer:
    content, upstream = asked.content, api.state.upstream
    owner, colon, name = content["head"].rpartition(":")
    content = content | {"head": name}
    head, base = (upstream.sha(f"refs/heads/{content[side]}") for side in ("head", "base"))
    if head is None or base is None or (colon and owner != upstream.name.partition("/")[0]):
        raise RefusedError(422, "Validation Failed")
    if asked.token.run is not None and not api.state.actions_open_pulls:
        raise RefusedError(403, "GitHub Actions is not permitted to create or approve pull requests.")
    if upstream.contains(base, head):
        raise RefusedError(422, "Validation Failed", f"No commits between {content['base']} and {content['head']}")
    if any(
        each.state == "open" and (each.head, each.head_ref) == (upstream, name) for each in api.state.pulls.values()
    ):
        raise RefusedError(422, "Validation Failed", f"A pull request already exists for {owner}:{name}.")
    title, body = content.get("title", content["head"]), content.get("body", "")
    pull = api.state.open_pull(title, upstream, content["head"], content["base"], user=asked.token.user, body=body)
    if asked.token.run is None:
        api.state.tell(Event("pull_request", "opened", pull, actor=asked.token.user))
    return Answer(api.pull(pull), 201)


@call("GET", "/pulls/{pull_number}", "pull-requests:read")
def pull(api: Api, asked: Asked) -> Answer:
    return Answer(api.pull(api.found_pull(asked.values["pull_number"])))


@call("GET", "/pulls/{pull_number}/files", "pull-requests:read")
def pull_files(api: Api, asked: Asked) -> Answer:
    pull, repository = api.found_pull(asked.values["pull_number"]), api.state.upstream
    lines = git(repository.path, "diff", "--name-status", "--no-renames", f"{pull.base_sha}...{pull.head_sha}")
    words = {"A": "added", "M": "modified", "D": "removed", "T": "changed"}
    rows = [line.split("\t") for line in lines.splitlines()]
    return api.paged(asked, [api.shown("diff-entry", status=words[kind], filename=name) for kind, name in rows])


@call("GET", "/pulls/{pull_number}/commits", "pull-requests:read")
def pull_commits(api: Api, asked: Asked) -> Answer:
    pull = api.found_pull(asked.values["pull_number"])
    lines = git(api.state.upstream.path, "rev-list", "--reverse", f"{pull.base_sha}..{pull.head_sha}")
    return api.paged(asked, [api.commit(sha) for sha in lines.split()])


@call("GET", "/pulls/{pull_number}/merge", "contents:read")
def is_merged(api: Api, asked: Asked) -> Answer:
    if not api.found_pull(asked.values["pull_number"]).merged:
        raise RefusedError(404, "Not Found")
    return Answer(status=204)


@call("PUT", "/pulls/{pull_number}/merge", "contents:write")
def merge(api: Api, asked: Asked) -> Answer:
    pull, content = api.found_pull(asked.values["pull_number"]), asked.content or {}
    refusals = [*api.state.refusals(pull)]
    if pull.state != "open" or pull.merge_sha is None:
        refusals.append("Pull Request is not mergeable")
    if content.get("merge_method", "merge") != "merge":
        refusals.append("Only merge commits are allowed on this repository.")
    if refusals:
        raise RefusedError(405, refusals[0])
    if content.get("sha", pull.head_sha) != pull.head_sha:
        raise RefusedError(409, "Head branch was modified. Review and try the merge again.")
    sha = api.state.land(pull, asked.token)
    return Answer({"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


@call("GET", "/commits/{commit_sha}/pulls", "pull-requests:read")
def pulls_of_commit(api: Api, asked: Asked) -> Answer:
    sha, upstream = asked.values["commit_sha"], api.state.upstream
    if upstream.sha(sha) is None:
        raise RefusedError(422, f"No commit found for SHA: {sha}")
    found = [
        pull
        for pull in api.state.pulls.values()
        if (pull.merged and sha == pull.merge_sha)
        or (upstream.contains(pull.head_sha, sha) and not upstream.contains(pull.base_sha, sha))
    ]
    return api.paged(asked, [api.pull(pull, "pull-request-simple") for pull in found])


@call("GET", "/issues/{issue_number}/comments", "issues:read", "pull-requests:read")
def comments(api: Api, asked: Asked) -> Answer:
    number = api.commented(asked, "read")
    return api.paged(asked, [api.comment(record) for record in api.state.of("comment", number)])


@call("POST", "/issues/{issue_number}/comments", "issues:write", "pull-requests:write")
def new_comment(api: Api, asked: Asked) -> Answer:
    number = api.commented(asked, "write")
    return Answer(api.comment(api.state.add("comment", number, asked.token.user, dict(asked.content))), 201)


@call("GET", "/issues/comments/{comment_id}", "issues:read", "pull-requests:read")
def one_comment(api: Api, asked: Asked) -> Answer:
    return Answer(api.comment(api.found("comment", asked.values["comment_id"])))


@call("PATCH", "/issues/comments/{comment_id}", "issues:write", "pull-requests:write")
def change_comment(api: Api, asked: Asked) -> Answer:
    record = api.found("comment", asked.values["comment_id"])
    record.content, record.updated = dict(asked.content), api.state.now()
    return Answer(api.comment(record))


@call("DELETE", "/issues/comments/{comment_id}", "issues:write", "pull-requests:write")
def drop_comment(api: Api, asked: Asked) -> Answer:
    api.state.records["comment"].remove(api.found("comment", asked.values["comment_id"]))
    return Answer(status=204)


@call("GET", "/issues/{issue_number}/labels", "issues:read", "pull-requests:read")
def labels(api: Api, asked: Asked) -> Answer:
    return api.paged(asked, map(api.label, api.found_pull(asked.values["issue_number"]).labels))


@call("POST", "/issues/{issue_number}/labels", "issues:write", "pull-requests:write")
def add_labels(api: Api, asked: Asked) -> Answer:
    pull, content = api.found_pull(asked.values["issue_number"]), asked.content
    names = content["labels"] if isinstance(content, dict) else content
    for name in [each for each in names if each not in pull.labels]:
        pull.labels.append(name)
        if asked.token.run is None:
            api.state.tell(Event("pull_request", "labeled", pull, label=name, actor=asked.token.user))
    return Answer([api.label(name) for name in pull.labels])


@call("DELETE", "/issues/{issue_number}/labels/{name}", "issues:write", "pull-requests:write")
def drop_label(api: Api, asked: Asked) -> Answer:
    pull = api.found_pull(asked.values["issue_number"])
    if asked.values["name"] not in pull.labels:
        raise RefusedError(404, "Label does not exist")
    pull.labels.remove(asked.values["name"])
    return Answer([api.label(name) for name in pull.labels])
