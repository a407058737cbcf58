"""A bundle that is ready to answer: verified, its golden rows replayed, and so warm."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from trunkline.bundle import golden
from trunkline.bundle.manifest import BundleError
from trunkline.bundle.runtime import Bundle
from trunkline.conf.serving import Limits, Online
from trunkline.serve import bundles
from trunkline.serve.bundles import PipelineBundle, Served
from trunkline.serve.decode import Columns, Decoder, Rows
from trunkline.serve.explain.additive import NotExplainedError
from trunkline.serve.explain.explainer import Explainer
from trunkline.serve.online.features import OnlineFeatures, Requested
from trunkline.serve.online.join import ViewState
from trunkline.serve.online.store.protocol import Store
from trunkline.serve.problems import ProblemError, refused_row
from trunkline.serve.turns import Timed, Turns

_log = logging.getLogger(__name__)

Arm = Literal["current", "shadow", "canary"]


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an environment is to try beside its version: a candidate, for a share of its rows.

    `share` is in percent; `key` are the columns of a request whose values decide in which arm a row is.
    """

    kind: Literal["shadow", "canary"]
    share: Annotated[float, Meta(gt=0, le=100)]
    key: tuple[str, ...]
    candidate: "Pointer"


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an environment is to serve: a file of the store; `bundle` is a path in it.

    `provenance` is what was signed at the release, with the signature. Where there is no rollout, the file does not
    name one, so that servers read it that know none.
    """

    name: str
    version: str
    digest: str
    bundle: str
    commit: str | None = None
    provenance: str = ""
    rollout: Rollout | None = None


@dataclass(frozen=True)
class Version:
    """Which model it is; a bundle that was not delivered as a version has neither version nor commit."""

    name: str
    digest: str
    version: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class Model:
    """A bundle, which model it is, what reads requests to it, and what explains its scores, or why nothing does.

    `turns` scores the rows of small requests; `examples` are the requests of its golden rows.
    """

    version: Version
    bundle: Served
    decoder: Decoder
    turns: Turns
    explainer: Explainer | NotExplainedError
    examples: tuple[dict[str, Any], ...]
    online: OnlineFeatures | None = None

    def scores(self, rows: Rows | Columns) -> npt.NDArray[np.float64]:
        """Return the scores of rows.

        Raises ProblemError for the first row that is not as the contract says.
        """
        refuse(rows)
        return self.bundle.scores(*rows.matrices)

    async def scores_in_turn(self, rows: Rows | Columns) -> npt.NDArray[np.float64]:
        """Return what `scores` does, of rows that are scored together with those of other requests."""
        refuse(rows)
        assert isinstance(rows, Rows)  # noqa: S101  JSON is never read in columns
        if isinstance(self.bundle, PipelineBundle):
            return await self.bundle.scores_in_turn(*rows.matrices)
        return await self.turns.scores(rows)

    async def timed_in_turn(self, rows: Rows | Columns) -> Timed:
        """Return the scores of rows as `scores_in_turn` does, of a graph, and how long that took, if it is known."""
        assert isinstance(rows, Rows)  # noqa: S101
        return await self.turns.timed(rows)

    def accepted(self, rows: Rows | Columns) -> Rows | Columns:
        """Return the rows that are scored: where the contract sets bad ones aside, those of several that are good."""
        quarantine = not rows.one and self.bundle.contract.on_bad_row == "quarantine"
        return rows.accepted if quarantine else rows

    @property
    def waits(self) -> bool:
        """Whether an answer waits for something else: others' rows, or a store beyond this machine."""
        return isinstance(self.bundle, PipelineBundle) or (self.online is not None and self.online.waits)

    def given(self, rows: Sequence[Any], one: bool = False) -> "Given":
        """Return rows that are decoded already, checked; those that lack inputs are joined with what is known of them.

        Raises ProblemError for too many rows, and for one that can neither be scored as it is nor be joined.
        """
        if self.online is None:
            return Given(self.decoder.check(rows, one))
        requested = self.online.requested(self.decoder.limited(rows))
        return Given(self.decoder.check(requested.rows, one), requested)

    async def given_in_turn(self, rows: Sequence[Any], one: bool = False) -> "Given":
        """Return what `given` does, of rows that are joined together with those of other requests."""
        if self.online is None:
            return Given(self.decoder.check(rows, one))
        requested = await self.online.requested_in_turn(self.decoder.limited(rows))
        return Given(self.decoder.check(requested.rows, one), requested)

    def explains(self, rows: int) -> bool:
        """Tell whether so many rows can be explained at once."""
        return isinstance(self.explainer, Explainer) and rows <= self.explainer.most

    def explanations(self, rows: Rows | Columns, scores: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        """Return the explanations of rows that have these scores.

        Raises ProblemError where there is none (501), and for more rows than may be explained at once (413).
        """
        try:
            if isinstance(self.explainer, NotExplainedError):
                raise self.explainer
            if len(scores) > self.explainer.most:
                detail = f"the request has {len(scores):,} rows, of which {self.explainer.most:,} are explained at once"
                raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            return self.explainer.explain(*rows.matrices, scores)
        except NotExplainedError as error:
            detail = f"the model cannot be explained exactly: {error}; ask without explain=true"
            raise ProblemError(HTTPStatus.NOT_IMPLEMENTED, detail) from None

    def named(self, score: Any) -> Any:
        """Return a row's score as JSON has it: a number, or for several classes their numbers by name."""
        classes = self.bundle.contract.classes
        return dict(zip(classes, score.tolist(), strict=True)) if classes else float(score)


@dataclass(frozen=True, slots=True)
class Scored:
    """The rows of a request with a score each, as the model saw them; `rows.refused` are those that have none.

    `request` is the id that the client itself gave in the body. `columns` and `times` are of rows whose features were
    joined here: the request's columns of each as JSON, and as of when, in seconds since 1970; `views` is how their
    views stood.

    While a rollout runs, `arm` is whose rows they are: current, canary or shadow; `scoring` how many seconds the model
    took; `problems` why rows of these numbers have no score of it, and `asked` their columns as JSON; `places` the
    numbers of those that have; `at` when the request was answered, in seconds since 1970, None for now.
    """

    model: Model
    rows: Rows | Columns
    scores: npt.NDArray[np.float64]
    request: str | None = None
    columns: Sequence[str | None] | None = None
    times: Sequence[float | None] | None = None
    views: Sequence[ViewState] = ()
    arm: Arm | None = None
    scoring: float | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
    asked: Sequence[str | None] = ()
    places: Sequence[int] | None = None
    at: float | None = None

    @property
    def logged(self) -> int:
        """How many rows the log is given: also those with a problem."""
        return len(self.scores) + len(self.problems)

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of the scored rows in the request."""
        if self.places is not None:
            return self.places
        refused = self.rows.refused or {}
        every = range(len(self.scores) + len(refused))
        return [number for number in every if number not in refused] if refused else list(every)


@dataclass(frozen=True, slots=True)
class Given:
    """The rows of a request as the model takes them, and how those were joined that were."""

    rows: Rows | Columns
    requested: Requested | None = None

    @classmethod
    def of(cls, decoder: Decoder, body: bytes) -> "Given":
        """Return the rows of a body of JSON, which have all inputs; raises ProblemError as `Decoder.decode` does."""
        return cls(decoder.decode(body))

    def scored(self, model: Model, scores: npt.NDArray[np.float64], request: str | None = None) -> Scored:
        """Return the rows with their scores; `request` is the id that the client itself gave in the body."""
        if self.requested is None:
            return Scored(model, self.rows, scores, request)
        numbers = Scored(model, self.rows, scores).numbers
        joined = [self.requested.joined.get(number) for number in numbers]
        times = [
            each.predicted_at.replace(tzinfo=UTC).timestamp() if each and each.predicted_at else None for each in joined
        ]
        views = [state for each in joined if each for state in each.views]
        columns = [self.requested.columns.get(number) for number in numbers]
        return Scored(model, self.rows, scores, request, columns, times, views)


def load(
    folder: Path,
    limits: Limits,
    tolerance: float,
    pointer: Pointer | None = None,
    online: tuple[Online, Store] | None = None,
) -> Model:
    """Verify a bundle, load it and replay its golden rows; the limits are of the requests to it.

    Raises UserError as `Bundle.load`, `golden.check` and `OnlineFeatures.read` do, and for a bundle of another digest
    than the pointer's.
    """
    bundle = bundles.load(folder, limits.rows)
    if pointer is not None and bundle.digest != pointer.digest:
        raise BundleError(f"{folder}: holds the bundle {bundle.digest[:12]}, not {pointer.digest[:12]} as delivered")
    golden.check(folder, bundle.score, tolerance)
    given = (pointer.version, pointer.commit) if pointer else (None, None)
    name = pointer.name if pointer else bundle.manifest.name
    version, decoder = Version(name, bundle.digest, *given), Decoder(bundle.contract, limits.rows, limits.depth)
    examples = tuple(row.request for row in golden.read(folder))
    inputs = [field.name for field in bundle.contract.inputs]
    joined = OnlineFeatures.read(folder, inputs, *online) if online else None
    return Model(version, bundle, decoder, Turns(bundle.scores), _explainer(folder, bundle), examples, joined)


def refuse(rows: Rows | Columns) -> None:
    """Raise ProblemError for the first of rows that is not as the contract says."""
    if isinstance(rows, Columns):
        return
    for number, error in (rows.refused or {}).items():
        raise refused_row(str(error), None if rows.one else number, error.field)


def _explainer(folder: Path, bundle: Served) -> Explainer | NotExplainedError:
    if not isinstance(bundle, Bundle):
        return NotExplainedError(f"its runtime is {bundle.manifest.runtime}, and a graph alone is explained")
    try:
        return Explainer.of(folder, bundle)
    except NotExplainedError as reason:
        _log.info("%s: is not explained: %s", folder, reason)
        return reason
    except Exception:  # scores are served whatever a graph looks like
        _log.exception("%s: cannot be explained", folder)
        return NotExplainedError("its graph is not of the form that is explained")
