"""Which model is served, and how another takes its place: only one that loaded whole, in one assignment.

Requests keep the model that they began with, so that the old one is drained by itself. It stays loaded until the next
swap, so that a rollback needs nothing. Whatever is wrong with what is delivered, the model that is served stays.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trunkline.core.errors import TrunklineError, UserError, one_line
from trunkline.serve.model import Model, Pointer, Rollout
from trunkline.serve.rollout.arms import Arms

POLL = 0.2  # seconds; a look at one small file, which also works on volumes that announce no changes
RETRY = 5.0  # seconds until a bundle that could not be loaded is tried again: it may have been delivered anew

_log = logging.getLogger(__name__)


@dataclass
class Slot:
    """The model that is served, the one before it, and why what was delivered last is not served; None if it is.

    `rollout` is what is declared to be tried beside it: `arms` do so, or `rollout_problem` says why not. A change is in
    place, and in the metrics, before the log says it.
    """

    current: Model | None = None
    previous: Model | None = None
    problem: str | None = None
    on_change: Callable[["Slot"], None] = field(default=lambda slot: None)
    rollout: Rollout | None = None
    arms: Arms | None = None
    rollout_problem: str | None = None

    def put(self, model: Model) -> None:
        """Serve a model from the next request on; one that is served already goes on, without its problem."""
        if model is self.current:
            self.problem = None
            self.on_change(self)
            return
        self._end_rollout()  # which was of the model before
        self.previous, self.current, self.problem = self.current, model, None
        self.on_change(self)
        served = model.version
        _log.info("serves %s %s, bundle %s", served.name, served.version or "(no version)", served.digest[:12])

    def roll(self, rollout: Rollout, arms: Arms) -> None:
        """Try a candidate from the next request on."""
        self.rollout, self.arms, self.rollout_problem = rollout, arms, None
        self.on_change(self)
        words = "%s of %s at %s %%, bundle %s"
        _log.info(words, rollout.kind, rollout.candidate.version, rollout.share, rollout.candidate.digest[:12])

    def do_not_roll(self, rollout: Rollout, problem: str) -> None:
        """Serve without the candidate that is declared, and say why."""
        before = self.rollout_problem
        self.rollout, self.arms, self.rollout_problem = rollout, None, problem
        self.on_change(self)
        if problem != before:
            _log.error("does not try %s: %s", rollout.candidate.version, problem)

    def roll_nothing(self) -> None:
        """Serve without a candidate: none is declared."""
        if self.rollout is not None:
            ended = self.rollout
            self._end_rollout()
            self.on_change(self)
            _log.info("the %s of %s is over", ended.kind, ended.candidate.version)

    def _end_rollout(self) -> None:
        self.rollout = self.arms = self.rollout_problem = None

    def keep(self, problem: str) -> None:
        """Go on serving what is served, and say why."""
        before, self.problem = self.problem, problem
        self.on_change(self)
        if problem != before:
            _log.error("does not serve what is delivered: %s", problem)

    def empty(self) -> None:
        """Serve nothing."""
        self._end_rollout()
        self.previous, self.current, self.problem = self.current, None, None
        self.on_change(self)
        _log.warning("serves nothing: nothing is delivered")


class Follower:
    """Serves what is delivered to an environment of a store.

    `check` raises TrunklineError for a pointer that is not to be believed; `load` makes the bundle of a folder ready.
    With `only`, such as v5, that version alone is served, be it the environment's or the candidate of its rollout.
    """

    def __init__(  # noqa: PLR0913, PLR0917  what is delivered, and what becomes of it
        self,
        slot: Slot,
        store: Path,
        environment: str,
        check: Callable[[Pointer], object],
        load: Callable[[Path, Pointer], Model],
        only: str | None = None,
    ) -> None:
        self.slot, self._store, self._check, self._load, self._only = slot, store, check, load, only
        self._path = store / f"{environment}.json"
        self._seen: bytes | None = None
        self._again = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Look once, so that what is delivered already is served when this returns, and then go on."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()

    def look(self) -> None:
        """Serve what is delivered, if that is new."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            self.slot.keep(f"{self._path.name}: {error.strerror}")
            return
        well = self.slot.problem is None and self.slot.rollout_problem is None
        if content == self._seen and (well or time.monotonic() < self._again):
            return
        self._seen, self._again = content, time.monotonic() + RETRY
        if content:
            self._swap(content)
        elif self.slot.current is not None:
            self.slot.empty()

    def _follow(self) -> None:
        while not self._stop.wait(POLL):
            self.look()

    def _swap(self, content: bytes) -> None:
        try:
            pointer = _arm(msgspec.json.decode(content, type=Pointer), self._only)
            self._check(pointer)
            model = self._warm(pointer) or self._load(self._store / pointer.bundle, pointer)
            candidate = self._warm(pointer.rollout.candidate) if pointer.rollout else None  # of the rollout that ends
            self.slot.put(model)
        except (TrunklineError, OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.slot.keep(one_line(error))
        except Exception:  # whatever it is, the model that is served stays
            _log.exception("cannot load what is delivered")
            self.slot.keep("the bundle cannot be loaded; see the log")
        else:
            self._roll(model, pointer.rollout, candidate)

    def _roll(self, model: Model, rollout: Rollout | None, warm: Model | None) -> None:
        """Try the candidate that is declared beside a model, which is served whatever becomes of that."""
        if rollout is None:
            self.slot.roll_nothing()
            return
        try:
            self._check(rollout.candidate)
            candidate = warm or self._load(self._store / rollout.candidate.bundle, rollout.candidate)
            self.slot.roll(rollout, Arms(model, candidate, rollout))
        except (TrunklineError, OSError) as error:
            self.slot.do_not_roll(rollout, one_line(error))
        except Exception:
            _log.exception("cannot load the candidate of the rollout")
            self.slot.do_not_roll(rollout, "its bundle cannot be loaded; see the log")

    def _warm(self, pointer: Pointer) -> Model | None:
        """Return a model that is loaded already and was delivered so."""
        wanted = (pointer.name, pointer.version, pointer.digest)
        candidate = self.slot.arms and self.slot.arms.candidate
        for model in (self.slot.current, self.slot.previous, candidate):
            if model and (model.version.name, model.version.version, model.version.digest) == wanted:
                return model
        return None


def _arm(pointer: Pointer, only: str | None) -> Pointer:
    """Return the arm of a pointer that is a version, without the other one; raises UserError where none is."""
    arms = [pointer, *([pointer.rollout.candidate] if pointer.rollout else [])]
    if only is None:
        return pointer
    for arm in arms:
        if arm.version == only:
            return msgspec.structs.replace(arm, rollout=None)
    raise UserError(f"delivered is {' and '.join(arm.version for arm in arms)}, and --only is {only}")
