"""The report as one HTML file: what the comment says, in full and with pictures, for a browser without a network.

It has no script, and loads nothing: its style is inside, and a policy in its head forbids the rest. Texts of others
stay text, since Jinja2 escapes whatever is put into the page.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trunkline.conf.evaluation import WHOLE
from trunkline.deploy import moves as deploy_moves
from trunkline.pipeline.claims import Refuted
from trunkline.pipeline.evaluate.estimate import Estimate
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.search.summary import Searched
from trunkline.review import pictures, reasons
from trunkline.review.comment import MADE_OF_OUTCOMES, kept, kind, noise, verdict
from trunkline.review.data import Moved, Review
from trunkline.review.figures import number, span
from trunkline.show.differences import shown
from trunkline.show.markdown import plain

TEMPLATE = "page.html.j2"
LONGEST, NAME = 5_000, 80  # characters of someone's text, and of a name in the headline

_ACTIONS = {
    "unchanged": "reproduced",
    "restored": "comes from the cache",
    "runs": "has not run",
    "changed": "has not run",
    "follows": "may have to follow",
}
_ANSWERS = {
    ("fail", True): ("bad", "fails, blocks"),
    ("fail", False): ("warn", "fails, warns only"),
    ("pass", True): ("good", "passes"),
    ("pass", False): ("good", "passes"),
    ("not_applicable", True): ("none", "not applicable"),
    ("not_applicable", False): ("none", "not applicable"),
}


def render(review: Review) -> str:
    """Return the page; equal reviews give equal text."""
    return filled(TEMPLATE, _content(review))


def filled(template: str, content: Mapping[str, Any]) -> str:
    """Return a template of this room, filled in, without empty lines."""
    text = _environment().get_template(template).render(content)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


def _content(review: Review) -> dict[str, Any]:
    slices, order = tuple(_slices(review)), ("fail", "pass", "not_applicable")
    whole = review.whole[0].now.value if review.whole else None
    return {
        "review": review,
        "verdict": verdict(review, lambda name: plain(name, NAME)),
        "kind": kind(review, lambda name: plain(name, NAME)),
        "gates": sorted(review.reports.gates.gates, key=lambda gate: (order.index(gate.verdict), not gate.blocking)),
        "slices": slices,
        "noise": noise(review),
        "kept": kept(review.plan.steps),
        "longest": LONGEST,
        "made_of_outcomes": MADE_OF_OUTCOMES,
        "new_reasons": reasons.NEW,
        "changes": pictures.changes([_labelled(moved) for moved in review.whole]),
        "forest": pictures.forest([_labelled(moved) for moved in slices[: pictures.MOST]], whole),
        "most": pictures.MOST,
        "searches": pictures.searches(_named(review.search)) if review.search else (),
        "curves": tuple(pictures.curve(curve) for curve in review.curves if curve.kind not in pictures.SCORES),
        "backtest": pictures.backtest(review.reports.backtest),
        "scores": pictures.scores(review.curves),
        "reliances": pictures.reliances(
            [replace(each, feature=plain(each.feature, NAME)) for each in review.reliances]
        ),
    }


def _labelled(moved: Moved) -> Moved:
    """Return it with names that a picture can hold."""
    return replace(moved, metric=plain(moved.metric, NAME), where=plain(moved.where, NAME))


def _named(search: Searched) -> Searched:
    """Return it with names that a picture can hold."""
    trials = tuple(replace(trial, family=plain(trial.family, NAME)) for trial in search.trials)
    shares = tuple((plain(name, NAME), share) for name, share in search.importance)
    return replace(search, metric=plain(search.metric, NAME), trials=trials, importance=shares)


def _environment() -> Environment:
    """Return an environment that escapes every value, after it has been made one line of visible letters."""
    environment = Environment(
        loader=PackageLoader("trunkline.review", ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, interval=span, shown=shown, count="{:,}".format, word=_word)
    environment.filters.update(action=_ACTIONS.__getitem__, direction=_direction)
    environment.filters["in_words"] = lambda move: deploy_moves.in_words(move, str)
    environment.filters["answer"] = lambda verdict: _ANSWERS[verdict.verdict, verdict.blocking]
    environment.filters["plain"] = lambda value: "undefined" if value is None else f"{value:.4f}"
    environment.filters["signed"] = lambda value: "" if value is None else f"{value:+.4f}"
    return environment


def _visible(value: object) -> object:
    text = str(value) if isinstance(value, Refuted) else value
    return plain(text, LONGEST) if isinstance(text, str) and not isinstance(text, Markup) else text


def _slices(review: Review) -> Iterator[Moved]:
    """Yield every slice: those that can be compared, those measured now only, and those with too few rows."""
    yield from review.slices
    compared = {moved.where for moved in review.slices}
    others = [moved for moved in _alone(review) if moved.where not in compared]
    yield from sorted(others, key=lambda moved: moved.now.value is None)


def _alone(review: Review) -> Iterator[Moved]:
    """Yield the slices of this commit on the first metric, not compared with anything."""
    if not review.whole:
        return
    name = review.whole[0].metric
    for group, values in sorted(review.reports.slices.items()):
        for label, part in sorted(values.items()):
            if group != WHOLE:
                now = part.metrics.get(name) or Estimate(value=None, interval=None, undefined="too few rows")
                before = (review.past.slices or {}).get(group, {}).get(label)
                old = before.metrics.get(name) if before else None
                yield Moved(name, f"{group} {label}", part.n, old, now, None, None)


def _word(moved: Moved) -> tuple[str, str]:
    """Return what the change is called, and how it looks."""
    if moved.better is None:
        return "none", "new" if moved.before is None and moved.now.value is not None else ""
    if not moved.better:
        return "none", "the same"
    if moved.clear is None:
        return "none", ""
    return ("none", "within noise") if not moved.clear else ("good", "better") if moved.better > 0 else ("bad", "worse")


def _direction(name: str) -> str:
    better = registry.better(name)
    return f"{better} is better" if better else ""
