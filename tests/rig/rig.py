"""One object for tests: a forge with a repository and its workflows, and what people do with them.

with rigged(tmp_path) as rig:
    rig.push("main", {"conf/a.yaml": "x: 1"})
    pull = rig.open_pull_request("work")
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.rig.dispatcher import Dispatcher, Live
from tests.rig.forge import PREFIX, Forge
from tests.rig.repository import ISOLATED, Repository, git
from tests.rig.reviewing import unreviewed
from tests.rig.runner import Job
from tests.rig.s3 import Remote
from tests.rig.state import Event, Protection, Pull, Record, Token

Edit = Mapping[str, str | None] | Callable[[Path], object]
MAINTAINER = Token("maintainer", {}, everything=True)


def apply(edit: Edit, folder: Path) -> None:
    """Change a checkout: by a function, or to these texts, where None removes a file."""
    if callable(edit):
        edit(folder)
        return
    for name, text in edit.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True) if text is None else path.write_text(text, encoding="utf-8")


class Rig:
    """The forge, its workflows, and a maintainer and contributors who use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forge = Forge(folder / "forge")
        self.state = self.forge.state
        self.upstream = self.state.upstream
        self.dispatcher = Dispatcher(self.forge, folder / "runs")

    def close(self) -> None:
        """End what runs, and fail the test for what was done against the forge's description."""
        self.dispatcher.cancel_all()
        self.settle(60)
        self.forge.close()
        if "remote_s3" in self.__dict__:
            self.remote_s3.close()
        assert not self.forge.violations, "\n".join(self.forge.violations)

    @cached_property
    def remote_s3(self) -> Remote:
        """An S3 endpoint, started when it is first asked for."""
        return Remote(self.folder / "s3")

    def push(
        self,
        branch: str,
        edit: Edit,
        *,
        onto: str | None = None,
        repository: Repository | None = None,
        message: str = "An edit",
        wait: bool = True,
    ) -> str:
        """Commit an edit to a branch, which starts at `onto` or main, push it as a person, and return its commit."""
        repository = repository or self.upstream
        start = onto or (branch if repository.sha(f"refs/heads/{branch}") else "main")
        with repository.checkout(repository.sha(start)) as folder:
            apply(edit, folder)
            git(folder, "add", "--all")
            git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
            sha = git(folder, "rev-parse", "HEAD")
            repository.take(folder, sha)
        self.move(repository, branch, sha, wait=wait)
        return sha

    def move(self, repository: Repository, branch: str, sha: str, *, wait: bool = True) -> None:
        """Let a branch point to a commit, as a person's push does."""
        with self.state.lock:
            before = repository.refs()
            repository.point(f"refs/heads/{branch}", sha)
            self.state.moved(repository, before, MAINTAINER)
        if wait:
            self.dispatcher.settle()

    def tag(self, name: str, sha: str, *, wait: bool = True) -> None:
        """Put a tag on a commit, as a person's push does."""
        with self.state.lock:
            before = self.upstream.refs()
            self.upstream.point(f"refs/tags/{name}", sha)
            self.state.moved(self.upstream, before, MAINTAINER)
        if wait:
            self.settle()

    def import_(self, checkout: Path, branch: str = "main", *, wait: bool = True) -> str:
        """Take a commit with its history and its tags from a checkout on this machine, as a branch."""
        sha = git(checkout, "rev-parse", "HEAD")
        git(self.upstream.path, "fetch", "--quiet", str(checkout), "HEAD", "+refs/tags/*:refs/tags/*")
        self.move(self.upstream, branch, sha, wait=wait)
        return sha

    def clone(self, folder: Path) -> Path:
        """Make a clone on this machine whose origin is the forge."""
        git(folder.parent, "clone", "--quiet", str(self.upstream.path), str(folder))
        git(folder, "remote", "set-url", "origin", f"{self.forge.url}/{self.upstream.name}.git")
        return folder

    def variables(self, token: str) -> dict[str, str]:
        """Return the environment by which verbs find the forge, and nobody's configuration of git."""
        return {
            "GITHUB_API_URL": f"{self.forge.url}{PREFIX}",
            "GITHUB_SERVER_URL": self.forge.url,
            "GITHUB_REPOSITORY": self.upstream.name,
            "GITHUB_TOKEN": token,
            **ISOLATED,
        }

    def fork(self, owner: str = "contributor") -> Repository:
        """Return a contributor's fork, which is made where there is none."""
        name = f"{owner}/{self.upstream.name.partition('/')[2]}"
        if name not in self.state.repositories:
            self.state.repositories[name] = self.upstream.fork(self.folder / "forge", name)
        return self.state.repositories[name]

    def open_pull_request(self, head: str, base: str = "main", *, fork: bool = False, wait: bool = True) -> Pull:
        """Open a pull request of a branch, of the contributor's fork if so asked."""
        repository = self.fork() if fork else self.upstream
        user = repository.name.partition("/")[0] if fork else "maintainer"
        pull = self.state.open_pull(f"Merge {head}", repository, head, base, user=user)
        self._tell(Event("pull_request", "opened", pull, actor=user), wait=wait)
        return pull

    def label(self, number: int, name: str, *, wait: bool = True) -> None:
        """Put a label on a pull request, as the maintainer."""
        pull = self.state.pulls[number]
        if name not in pull.labels:
            pull.labels.append(name)
            self._tell(Event("pull_request", "labeled", pull, label=name), wait=wait)

    def comments(self, number: int) -> list[Record]:
        """Return the comments of a pull request; their text is content["body"]."""
        return self.state.of("comment", number)

    def checks(self, sha: str) -> dict[str, str]:
        """Return the newest verdict of each check and status on a commit."""
        return self.state.verdicts(sha)

    def protect(self, *contexts: str, branch: str = "main", **more: Any) -> None:
        """Let a branch move through pull requests only, which these checks must pass; the rest is Protection's."""
        self.state.protections[branch] = Protection(contexts, **more)
        git(self.upstream.path, "config", "--add", "rig.protected", f"refs/heads/{branch}")

    def protect_tags(self, glob: str) -> None:
        """Let tags like this be neither moved nor deleted."""
        self.state.tag_rules.append(glob)
        git(self.upstream.path, "config", "--add", "rig.tags", glob)

    def admit(self, user: str, level: str = "write") -> None:
        """Give a person a role here; what a person without one approves counts for nothing."""
        self.state.permissions[user] = level

    def review(self, number: int, user: str, state: str = "APPROVED", *, wait: bool = True) -> None:
        """Review what a pull request is now, as a person."""
        content = {"state": state, "body": "", "commit_id": self.state.pulls[number].head_sha}
        self.state.add("review", number, user, content)
        self.state.advance()
        if wait:
            self.settle()

    def merge(self, number: int, *, wait: bool = True) -> str:
        """Merge a pull request as the button does; return the reason of a refusal, or nothing."""
        pull = self.state.pulls[number]
        refusals = [*self.state.refusals(pull)]
        if not refusals:
            self.state.land(pull, MAINTAINER)
        if wait:
            self.dispatcher.settle()
        return refusals[0] if refusals else ""

    def merge_queue(self, numbers: list[int]) -> list[int]:
        """Merge pull requests through the queue, each checked with those before it; return those that got through."""
        merged = []
        for number in numbers:
            pull = self.state.pulls[number]
            tip = self.upstream.sha(f"refs/heads/{pull.base_ref}") or ""
            sha = self.upstream.merge(tip, pull.head_sha, f"Merge pull request #{number}")
            if sha is not None and not [*unreviewed(self.state, pull)] and self._grouped(pull, tip, sha):
                self.state.close(pull, sha, MAINTAINER.user)
                self.move(self.upstream, pull.base_ref, sha)
                merged.append(number)
        return merged

    def _grouped(self, pull: Pull, base: str, sha: str) -> bool:
        ref = f"refs/heads/gh-readonly-queue/{pull.base_ref}/pr-{pull.number}-{base}"
        self.upstream.point(ref, sha)
        self._tell(Event("merge_group", "checks_requested", ref=ref, before=base, after=sha), wait=True)
        self.upstream.point(ref, None)
        return not [*self.state.wanting(pull.base_ref, sha)]

    def runs(self, name: str | None = None) -> list[Live]:
        """Return the runs, of one workflow if so asked, in the order in which they started."""
        return [live for live in self.dispatcher.lives if name in (None, live.workflow.name)]

    def job(self, workflow: str, job: str) -> Job:
        """Return what became of a job in the newest run of a workflow."""
        return self.runs(workflow)[-1].jobs[job]

    def dispatch(self, workflow: str, inputs: Mapping[str, str] | None = None, *, wait: bool = True) -> None:
        """Start a workflow that a person may start, with these inputs and the defaults of the others."""
        event = Event("workflow_dispatch", ref="refs/heads/main", workflow=workflow, inputs=inputs or {})
        self._tell(event, wait=wait)

    def wait_for_output(self, text: str) -> None:
        """Wait until a step of any job has printed a line with this text."""
        self.dispatcher.wait_for(lambda: any(text in each.printed() for live in self.runs() for each in live.acts))

    def cancel(self, live: Live, *, wait: bool = True) -> None:
        """Cancel a run, as the button does."""
        self.dispatcher.cancel(live)
        if wait:
            self.settle()

    def rerun(self, live: Live, *, wait: bool = True) -> None:
        """Run a run again, as the button does."""
        self.dispatcher.rerun(live)
        if wait:
            self.settle()

    def approve(self, live: Live, environment: str, *, wait: bool = True) -> None:
        """Let a run go on that waits for a person."""
        self.dispatcher.approve(live, environment)
        if wait:
            self.settle()

    def settle(self, seconds: float = 600.0) -> None:
        """Wait until nothing runs any more."""
        self.dispatcher.settle(seconds)

    def _tell(self, event: Event, *, wait: bool) -> None:
        self.state.tell(event)
        if wait:
            self.dispatcher.settle()


@contextmanager
def rigged(folder: Path) -> Iterator[Rig]:
    """Give a rig, and close it."""
    rig = Rig(folder)
    try:
        yield rig
    finally:
        rig.close()
