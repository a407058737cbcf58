"""What GitHub's rules come to: rulesets, which any reader may see, and the older protection, of which a part.

Pure, on the API's own objects. Where both rule, the stricter holds; what cannot be seen is not taken for absent, and
not for present either. Who may bypass rules is shown to administrators only and is not part of this.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from trunkline.adapters.forge.api import Guards

Json = Mapping[str, Any]
FIXED = {"update", "deletion"}  # the rules that keep a tag where it is


def guards(rules: Sequence[Json], summary: Json, classic: Json | None, tags_protected: bool | None) -> Guards:
    """Return what protects a branch.

    rules: those of rulesets that are in force on it. summary: what a branch says of its older protection. classic: all
    of that, or None where there is none or the token cannot see it.
    """
    kinds = {rule["type"] for rule in rules}
    pulls = [rule["parameters"] for rule in rules if rule["type"] == "pull_request"]
    hidden = bool(summary.get("enabled")) and classic is None
    older = classic or {}
    reviews = older.get("required_pull_request_reviews")
    counts = [each["required_approving_review_count"] for each in pulls]
    counts += [reviews.get("required_approving_review_count", 0)] if reviews else []
    owned = [each["require_code_owner_review"] for each in pulls]
    owned += [reviews["require_code_owner_reviews"]] if reviews else []
    forced = "non_fast_forward" in kinds or _refuses(older, "allow_force_pushes")
    deleted = "deletion" in kinds or _refuses(older, "allow_deletions")
    return Guards(
        pull_request_required=_visible(bool(pulls or reviews), hidden),
        approvals=max(counts, default=0) or (None if hidden else 0),
        code_owners=_visible(any(owned), hidden),
        checks=required_checks(rules, summary),
        force_push_blocked=_visible(forced, hidden),
        deletion_blocked=_visible(deleted, hidden),
        tags_protected=tags_protected,
    )


def required_checks(rules: Iterable[Json], summary: Json) -> tuple[str, ...]:
    """Return the names of the checks that must pass before a merge into a branch."""
    required = [rule["parameters"] for rule in rules if rule["type"] == "required_status_checks"]
    names = {check["context"] for each in required for check in each["required_status_checks"]}
    older = summary.get("required_status_checks") or {}
    if summary.get("enabled") and older.get("enforcement_level") != "off":
        names |= set(older.get("contexts", ()))
    return tuple(sorted(names))


def keeps(rulesets: Iterable[Json], tag: str) -> bool:
    """Tell whether rulesets of tags, with their rules, keep this one from being moved and from being deleted."""
    holding = [
        ruleset for ruleset in rulesets if ruleset["enforcement"] == "active" and _is_about(ruleset, f"refs/tags/{tag}")
    ]
    return {rule["type"] for ruleset in holding for rule in ruleset.get("rules", ())} >= FIXED


def _visible(answer: bool, hidden: bool) -> bool | None:
    return None if hidden and not answer else answer


def _refuses(older: Json, what: str) -> bool:
    return bool(older) and not older.get(what, {}).get("enabled", False)


def _is_about(ruleset: Json, ref: str) -> bool:
    names = (ruleset.get("conditions") or {}).get("ref_name") or {}
    include, exclude = names.get("include", ()), names.get("exclude", ())
    return any(_matches(each, ref) for each in include) and not any(_matches(each, ref) for each in exclude)


def _matches(pattern: str, ref: str) -> bool:
    return pattern == "~ALL" or _matched(pattern.replace("[^", "[!").split("/"), ref.split("/"))


def _matched(patterns: list[str], names: list[str]) -> bool:
    """Match as Ruby's fnmatch does with paths: `*` stops at a slash, `**/` is any number of folders."""
    if not patterns or not names:
        return not patterns and not names
    head, *rest = patterns
    if head == "**" and rest:
        return any(_matched(rest, names[skipped:]) for skipped in range(len(names)))
    return fnmatchcase(names[0], head) and _matched(rest, names[1:])
