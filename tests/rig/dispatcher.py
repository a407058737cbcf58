"""What act leaves out: which workflows an event starts, with which token and secrets, when, and what follows.

Filters, concurrency groups, environments that wait for a person, timeouts, a check for each job, and workflow_run when
a run is over. What a job's own token does starts nothing, as at the forge.
"""

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.rig import packages
from tests.rig.forge import PREFIX, Forge
from tests.rig.payload import Occasion, occasion
from tests.rig.runner import Act, Job, Order
from tests.rig.state import Event, Record, Run
from tests.rig.workflow import Result, Workflow, literal

MOST_RUNS = 60
BOT = "github-actions[bot]"
USES = re.compile(r"^\s*(?:- *)?(?:\{ *)?uses: *[\"']?([^\s\"'#},]+@[^\s\"'#},]+)", re.MULTILINE)
EVALUATE = """on: {event}
jobs:
  evaluate:
    runs-on: ubuntu-latest
    steps:
      - run: printf '%s\\n%s' "$GROUP" "$CANCEL" >"$RIG_VALUE"
        env:
          GROUP: {group}
          CANCEL: {cancel}
"""


@dataclass
class Environment:
    """A deployment environment: its secrets are for its jobs, which may have to wait for a person."""

    secrets: dict[str, str] = field(default_factory=dict)
    waits: bool = False


@dataclass(eq=False)
class Live:
    """A run with what it runs on and what it came to; `cancel` ends all of it."""

    run: Run
    workflow: Workflow
    occasion: Occasion
    jobs: dict[str, Job] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    cancelled: bool = False
    over: bool = False

    @property
    def state(self) -> str:
        """What it is at, for whoever has waited too long: the state of the run, and what each job's processes do."""
        return "\n".join([f"{self.run.name}: {self.run.status}", *(act.state for act in self.acts)])

    def cancel(self) -> None:
        """End the run."""
        self.cancelled = True
        for act in self.acts:
            act.cancel()


class Groups:
    """Concurrency groups: one run of a group goes, one waits, and an older one that waits is cancelled."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._going: dict[str, Live] = {}
        self._waiting: dict[str, Live] = {}

    def enter(self, group: str, live: Live, *, cancel: bool) -> None:
        """Wait for a place in a group; return early where the run is cancelled."""
        with self._changed:
            if group in self._waiting:
                self._waiting[group].cancel()
            self._waiting[group] = live
            if cancel and group in self._going:
                self._going[group].cancel()
            if group in self._going:
                live.run.status = "pending"
            self._changed.notify_all()
            self._changed.wait_for(lambda: live.cancelled or group not in self._going)
            if self._waiting.get(group) is live:
                del self._waiting[group]
            if not live.cancelled:
                self._going[group] = live

    def leave(self, group: str, live: Live) -> None:
        """Give the place to the next."""
        with self._changed:
            if self._going.get(group) is live:
                del self._going[group]
                if group in self._waiting:
                    self._waiting[group].run.status = "queued"
            self._changed.notify_all()


class Dispatcher:
    """Hears what happens at the forge, and runs what the workflows declare."""

    def __init__(self, forge: Forge, folder: Path) -> None:
        self.forge, self.state, self.folder = forge, forge.state, folder
        self.secrets: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.environments: dict[str, Environment] = {}
        self.minute = 60.0
        self.python = packages.python()
        self.unforked: set[str] = set()  # workflows whose jobs have this machine's Python, whatever `python` is
        self.lives: list[Live] = []
        self.crashes: list[BaseException] = []
        self._changed = threading.Condition()
        self._groups = Groups(self._changed)
        self._approved: set[tuple[int, str]] = set()
        self.state.listeners.append(self.hear)

    def hear(self, event: Event) -> None:
        """Start each workflow that an event starts, as the file is at the commit that is run."""
        if event.name == "pull_request":
            self.hear(replace(event, name="pull_request_target"))
        happened = occasion(self.forge.api, event)
        if happened is None:
            return
        for path in self.state.upstream.files(happened.sha, ".github/workflows"):
            workflow = Workflow(path, self.state.upstream.text(happened.sha, path))
            if workflow.starts_on(event, list(happened.changed)):
                self._start(workflow, happened)

    def settle(self, seconds: float = 600.0) -> None:
        """Wait until nothing runs any more, or waits for a person only."""
        with self._changed:
            done = self._changed.wait_for(lambda: self.crashes or all(map(self._rests, self.lives)), seconds)
        for crash in self.crashes:
            raise crash
        assert done, "\n".join(
            [f"still running after {seconds} s:", *(each.state for each in self.lives if not each.over)]
        )

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until something holds."""
        with self._changed:
            while not condition():
                assert seconds > 0, "it did not happen"
                self._changed.wait(0.05)
                seconds -= 0.05

    def approve(self, live: Live, environment: str) -> None:
        """Let a run go on that waits for a person."""
        with self._changed:
            self._approved.add((live.run.id, environment))
            live.run.status = "queued"
            self._changed.notify_all()

    def rerun(self, live: Live) -> None:
        """Run again, as the button does: the same commit and event, one attempt more."""
        run = live.run
        with self.state.lock:
            artifacts = self.state.records.get("artifact", [])
            self.state.records["artifact"] = [each for each in artifacts if each.at != run.id]
            run.attempt, run.status, run.conclusion = run.attempt + 1, "queued", None
        self._go(Live(run, live.workflow, live.occasion))

    def cancel(self, live: Live) -> None:
        """End a run, as the button does."""
        with self._changed:
            live.cancel()
            self._changed.notify_all()

    def cancel_all(self) -> None:
        """End what still runs."""
        for live in self.lives:
            self.cancel(live)

    def _rests(self, live: Live) -> bool:
        return live.over or live.run.status in ("waiting", "pending")

    def _start(self, workflow: Workflow, happened: Occasion) -> None:
        event, pull = happened.event, happened.event.pull
        if event.name == "workflow_dispatch":
            happened = replace(happened, payload=happened.payload | {"inputs": workflow.inputs(event.inputs)})
        run = self.state.new_run(
            name=workflow.name,
            path=workflow.path,
            event=event.name,
            head_sha=happened.judged,
            head_branch=pull.head_ref if pull else happened.ref.removeprefix("refs/heads/"),
            head_repository=pull.head.name if pull else self.state.upstream.name,
            actor=event.actor,
            pulls=[pull.number] if pull else [],
        )
        self._go(Live(run, workflow, happened))

    def _go(self, live: Live) -> None:
        with self._changed:
            assert len(self.lives) < MOST_RUNS, f"{live.run.name}: workflows start each other without end"
            self.lives.append(live)
        threading.Thread(target=self._guarded, args=(live,), daemon=True).start()

    def _guarded(self, live: Live) -> None:
        try:
            self._run(live)
        except BaseException as crash:  # a defect of the rig must reach the test that waits
            with self._changed:
                self.crashes.append(crash)
        with self._changed:
            live.over = True
            self._changed.notify_all()

    def _run(self, live: Live) -> None:
        self.state.tell(Event("workflow_run", "requested", run=live.run, actor=live.run.actor))
        group, cancel = self._evaluated(live, live.workflow.content.get("concurrency"))
        if group:
            self._groups.enter(group, live, cancel=cancel)
        live.run.status = "in_progress"
        self._all_jobs(live)
        if group:
            self._groups.leave(group, live)
        conclusions = {job.conclusion for job in live.jobs.values()}
        order = ("cancelled", "failure", "success", "skipped")
        live.run.status, live.run.conclusion = "completed", next(each for each in order if each in conclusions)
        self.state.tell(Event("workflow_run", "completed", run=live.run, actor=live.run.actor))

    def _all_jobs(self, live: Live) -> None:
        waiting = live.workflow.order()
        while waiting:
            ready = [job for job in waiting if set(live.workflow.needs(job)) <= live.jobs.keys()]
            with ThreadPoolExecutor(len(ready)) as pool:
                live.jobs |= zip(ready, pool.map(lambda job: self._checked(live, job), ready), strict=True)
            waiting = [job for job in waiting if job not in ready]

    def _checked(self, live: Live, job: str) -> Job:
        """Run a job; its conclusion is a check on the commit that is judged."""
        name = live.workflow.jobs[job].get("name", job)
        content = {"name": name, "status": "in_progress", "external_id": f"{live.run.id}/{job}"}
        record: Record = self.state.add("check", live.occasion.judged, BOT, content)
        done = self._job(live, job)
        record.content |= {"status": "completed", "conclusion": done.conclusion}
        record.updated = self.state.now()
        self.state.advance()
        return done

    def _job(self, live: Live, job: str) -> Job:
        declared = live.workflow.jobs[job]
        group, cancel = self._evaluated(live, declared.get("concurrency"))
        if group:
            self._groups.enter(group, live, cancel=cancel)
        environment = self._entered(live, declared.get("environment"))
        if live.cancelled:
            return Job(job, "cancelled")
        done = self._acted(live, self._order(live, job, environment)).finish()
        if group:
            self._groups.leave(group, live)
        return done

    def _acted(self, live: Live, order: Order) -> Act:
        act = Act(
            self.folder / f"{live.run.id}-{live.run.attempt}-{order.job}-{len(live.acts)}", self.state.upstream, order
        )
        with self._changed:
            live.acts.append(act)
        if live.cancelled:
            act.cancel()
        return act

    def _entered(self, live: Live, declared: str | Mapping[str, str] | None) -> Environment:
        """Wait for a person where the environment of a job asks for one."""
        name = declared if isinstance(declared, str) else (declared or {}).get("name")
        environment = self.environments.get(name or "", Environment())
        if name and environment.waits:
            with self._changed:
                live.run.status = "waiting"
                self._changed.notify_all()
                self._changed.wait_for(lambda: live.cancelled or (live.run.id, name) in self._approved)
                live.run.status = "in_progress"
        return environment

    def _order(self, live: Live, job: str, environment: Environment) -> Order:
        happened, workflow, run = live.occasion, live.workflow, live.run
        results = {name: Result(done.conclusion, done.outputs) for name, done in live.jobs.items()}
        untrusted = happened.fork
        token = self.state.grant(BOT, workflow.permissions(job, fork=untrusted), run.id)
        secrets = {} if untrusted else self.secrets | environment.secrets
        return Order(
            text=workflow.alone(job, results),
            job=job,
            event=happened.event.name,
            payload=happened.payload,
            sha=happened.sha,
            actor=run.actor,
            environment=self._environment(live),
            secrets=secrets | {"GITHUB_TOKEN": token},
            variables=self.variables,
            uses=self._uses(happened.sha, workflow),
            seconds=float(workflow.jobs[job].get("timeout-minutes", 360)) * self.minute,
        )

    def _environment(self, live: Live) -> dict[str, str]:
        url, run = self.forge.url, live.run
        return {
            "GITHUB_SERVER_URL": url,
            "GITHUB_API_URL": url + PREFIX,
            "GITHUB_REPOSITORY": self.state.upstream.name,
            "GITHUB_REF": live.occasion.ref,
            "GITHUB_RUN_ID": str(run.id),
            "GITHUB_RUN_ATTEMPT": str(run.attempt),
            "ACTIONS_RESULTS_URL": f"{url}/_rig/artifacts",
            "ACTIONS_RUNTIME_TOKEN": self.state.grant(BOT, {"metadata": "none"}, run.id),
            "RIG_CACHE": str(self.folder / "cache"),
            "RIG_DEFAULT_BRANCH": "main",
            "RIG_PYTHON": packages.python() if live.workflow.name in self.unforked else self.python,
        }

    def _uses(self, sha: str, workflow: Workflow) -> tuple[str, ...]:
        upstream = self.state.upstream
        local = [upstream.text(sha, path) for path in upstream.files(sha, ".github/actions") if path.endswith(".yml")]
        found = {name for text in (workflow.text, *local) for name in USES.findall(text)}
        return tuple(sorted(name for name in found if not name.startswith("./")))

    def _evaluated(self, live: Live, declared: str | Mapping[str, str] | None) -> tuple[str, bool]:
        """Return a concurrency group and whether it cancels; expressions are evaluated by act itself."""
        given = {"group": declared} if isinstance(declared, str) else dict(declared or {})
        group, cancel = given.get("group", ""), given.get("cancel-in-progress", "false")
        if "${{" in group + cancel:
            group, cancel = self._expressions(live, group, cancel)
        return group, cancel == "true"

    def _expressions(self, live: Live, group: str, cancel: str) -> tuple[str, str]:
        value = self.folder / f"value-{live.run.id}-{live.run.attempt}"
        quoted = {"group": literal(group), "cancel": literal(cancel)}
        text = f"name: {literal(live.workflow.name)}\n" + EVALUATE.format(event=live.occasion.event.name, **quoted)
        environment = self._environment(live) | {"RIG_VALUE": str(value)}
        happened, actor = live.occasion, live.run.actor
        order = Order(
            text, "evaluate", happened.event.name, happened.payload, happened.sha, actor, environment, {}, {}, (), 60.0
        )
        Act(value.with_suffix(".act"), self.state.upstream, order).finish()
        found, _, cancels = value.read_text().partition("\n")
        return found, cancels
