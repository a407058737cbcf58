"""A workflow file as the forge reads it: what starts it, what its jobs may do, and one job of it by itself.

act runs every job of a file in one process with one token. The forge gives each job a token of its own, so a job is
run by itself: its text and all that stands around the jobs are untouched, and the jobs that it needs are replaced by
their recorded results. A workflow of one job is run byte for byte as it is.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.rig.state import Event

READ_ONLY = {"contents": "read", "packages": "read"}
SCOPES = frozenset(
    {"actions", "attestations", "checks", "contents", "deployments", "discussions", "id-token", "issues", "models"}
    | {"packages", "pages", "pull-requests", "security-events", "statuses"}
)
PULL_TYPES = ("opened", "synchronize", "reopened")
NEEDS = "rig-needs"


@dataclass(frozen=True)
class Result:
    """What a job came to."""

    conclusion: str
    outputs: Mapping[str, str] = field(default_factory=dict)


def pattern(glob: str) -> re.Pattern[str]:
    """Return a filter of the forge: `*` stops at a slash, `**` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "."}
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts))


def admits(globs: list[str], name: str) -> bool:
    """Tell whether a list of filters lets a name through; the last one that matches decides."""
    verdict = False
    for glob in globs:
        if pattern(glob.removeprefix("!")).fullmatch(name):
            verdict = not glob.startswith("!")
    return verdict


def listed(value: Any) -> list[str]:
    """Return a value that may be one or several."""
    return [value] if isinstance(value, str) else list(value or ())


class Workflow:
    """One file of .github/workflows."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.content: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
        self.name: str = self.content.get("name", path)
        self.jobs: dict[str, dict[str, Any]] = self.content["jobs"]

    def starts_on(self, event: "Event", changed: list[str]) -> bool:
        """Tell whether an event starts this workflow; `changed` are the paths that it touched."""
        declared = self.content["on"]
        triggers = declared if isinstance(declared, dict) else dict.fromkeys(listed(declared))
        if event.name not in triggers or event.workflow not in ("", self.name):
            return False
        return self._passes(triggers[event.name] or {}, event, changed)

    def _passes(self, trigger: dict[str, Any], event: "Event", changed: list[str]) -> bool:
        default = PULL_TYPES if event.name.startswith("pull_request") else ()
        types = listed(trigger.get("types")) or default
        if types and event.action not in types:
            return False
        if event.run is not None and event.run.name not in listed(trigger["workflows"]):
            return False
        if event.ref.startswith("refs/tags/"):
            return self._tag(trigger, event.ref.removeprefix("refs/tags/"))
        if event.name == "push" and "tags" in trigger and "branches" not in trigger:
            return False
        return self._branch(trigger, event.target) and self._paths(trigger, changed)

    def inputs(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return what a person starts it with; the forge refuses what is not declared, and what is missing."""
        declared = (self.content["on"]["workflow_dispatch"] or {}).get("inputs", {})
        choices = {name: about["options"] for name, about in declared.items() if about.get("type") == "choice"}
        first = {name: options[0] for name, options in choices.items()}  # what the form has chosen
        defaults = {name: str(about.get("default", first.get(name, ""))) for name, about in declared.items()}
        missing = {name for name, about in declared.items() if about.get("required") == "true" and not defaults[name]}
        wrong = (given.keys() - declared.keys()) | (missing - given.keys())
        wrong |= {name for name, options in choices.items() if given.get(name, options[0]) not in options}
        assert not wrong, f"{self.path}: inputs that are missing, or not declared so: {sorted(wrong)}"
        return defaults | dict(given)

    @staticmethod
    def _branch(trigger: dict[str, Any], name: str) -> bool:
        if "branches" in trigger:
            return admits(listed(trigger["branches"]), name)
        return not admits(listed(trigger.get("branches-ignore")), name)

    @staticmethod
    def _tag(trigger: dict[str, Any], name: str) -> bool:
        if "tags" in trigger:
            return admits(listed(trigger["tags"]), name)
        return "branches" not in trigger

    @staticmethod
    def _paths(trigger: dict[str, Any], changed: list[str]) -> bool:
        if "paths" in trigger:
            return any(admits(listed(trigger["paths"]), path) for path in changed)
        if "paths-ignore" in trigger:
            return not all(admits(listed(trigger["paths-ignore"]), path) for path in changed)
        return True

    def permissions(self, job: str, *, fork: bool) -> dict[str, str]:
        """Return what a job's token may do; for a pull request of a fork it never writes."""
        declared = self.jobs[job].get("permissions", self.content.get("permissions", READ_ONLY))
        if isinstance(declared, str):  # read-all, write-all, or {} as flow text
            level = declared.partition("-")[0]
            declared = dict.fromkeys(SCOPES, level) if level in ("read", "write") else {}
        return {name: "read" if fork and level == "write" else level for name, level in declared.items()}

    def needs(self, job: str) -> list[str]:
        """Return the jobs that a job waits for."""
        return listed(self.jobs[job].get("needs"))

    def order(self) -> list[str]:
        """Return the jobs, each after those that it needs."""
        done: list[str] = []
        while len(done) < len(self.jobs):
            ready = [job for job in self.jobs if job not in done and set(self.needs(job)) <= set(done)]
            assert ready, f"{self.path}: the jobs wait for each other"
            done += ready
        return done

    def alone(self, job: str, results: Mapping[str, Result]) -> str:
        """Return the file with one job, whose predecessors are replaced by what they came to.

        Where a later job needs this one, a job is added that tells its outputs.
        """
        if set(self.jobs) == {job}:
            return self.text
        kept, places = set(self._ancestors(job)), self._places()
        text, indent = self.text, " " * places[0].indent
        if any(job in self.needs(other) for other in self.jobs):
            end = places[-1].end
            text = f"{text[:end].rstrip()}\n{indent}{observer(job)}\n{text[end:]}"
        for place in reversed(places):
            if place.job in kept:
                text = text[: place.begin] + indent + stub(place.job, self, results) + text[place.end :]
            elif place.job != job:
                text = text[: place.begin] + text[place.end :]
        return text

    def _ancestors(self, job: str) -> list[str]:
        return [each for need in self.needs(job) for each in (need, *self._ancestors(need))]

    def _places(self) -> list["Place"]:
        root: Any = yaml.compose(self.text, Loader=yaml.BaseLoader)
        (jobs,) = (value for key, value in root.value if key.value == "jobs")
        assert not jobs.flow_style, f"{self.path}: jobs are written as a block"
        begins = [self.text.rindex("\n", 0, key.start_mark.index) + 1 for key, _ in jobs.value]
        following = [key.start_mark.index for key, _ in root.value if key.start_mark.index > begins[0]]
        ends = [*begins[1:], min([*following, len(self.text)])]
        names = [(key.value, key.start_mark.column) for key, _ in jobs.value]
        return [Place(*name, *span) for name, *span in zip(names, begins, ends, strict=True)]


@dataclass(frozen=True)
class Place:
    """Where a job stands in the text: whole lines."""

    job: str
    indent: int
    begin: int
    end: int


def stub(name: str, workflow: Workflow, results: Mapping[str, Result]) -> str:
    """Return a job that comes to a recorded result."""
    result = results[name]
    job: dict[str, Any] = {"runs-on": "ubuntu-latest", "if": "false" if result.conclusion == "skipped" else "always()"}
    job["steps"] = [{"run": "true" if result.conclusion == "success" else "false"}]
    if needs := workflow.needs(name):
        job["needs"] = needs
    if result.outputs:
        job["outputs"] = {
            key: f"${{{{ fromJSON({literal(json.dumps(value))}) }}}}" for key, value in result.outputs.items()
        }
    return f"{name}: {json.dumps(job)}\n"


def literal(text: str) -> str:
    """Return a text as a literal of the forge's expressions."""
    return "'" + text.replace("'", "''") + "'"


def observer(job: str) -> str:
    """Return a job that writes down what another came to, with its outputs."""
    run = {"run": 'printf %s "$NEEDS" >"$RIG_NEEDS"', "env": {"NEEDS": "${{ toJSON(needs) }}"}}
    return f"{NEEDS}: {json.dumps({'runs-on': 'ubuntu-latest', 'needs': [job], 'if': 'always()', 'steps': [run]})}"
