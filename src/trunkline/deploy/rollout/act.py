"""Does what the verdict on a rollout says: the next declaration, as a commit on the trunk or as a pull request."""

from collections.abc import Callable, Mapping
from pathlib import Path

from trunkline.conf import registry
from trunkline.conf.registry import NOTHING
from trunkline.core import paths
from trunkline.deploy.propose import NoChange, Opened, Proposal
from trunkline.deploy.rollout import change
from trunkline.deploy.rollout.change import Committed, RolloutIntent
from trunkline.deploy.rollout.judge import Verdict

REASONS = 5  # that a commit names


def intent(root: Path, name: str, judged: Verdict, evidence: str = "") -> RolloutIntent | None:
    """Return what is to be done by a verdict on what a folder's registry file declares; None where nothing is.

    `evidence` is Markdown, for a pull request. Raises UserError for a registry file that cannot be read.
    """
    if judged.answer == "hold":
        return None
    environment = judged.step.environment
    seen = registry.read(root / paths.REGISTRY, name).environments.get(environment, NOTHING)
    return RolloutIntent(environment, judged.answer, seen, "; ".join(judged.reasons[:REASONS]), evidence)


def is_commit(judged: Verdict) -> bool:
    """Tell whether the change is a commit on the trunk: going back always is, else conf/deploy says it of the step."""
    return judged.answer == "go back" or judged.step.declared.change == "commit"


def act(
    root: Path,
    trunk: str,
    wanted: RolloutIntent,
    environ: Mapping[str, str],
    publish: Callable[[Proposal], Opened] | None,
) -> Committed | Opened | NoChange:
    """Change the registry file at the tip of the trunk of origin; `publish` opens a pull request, None: it is a commit.

    Where the trunk declares something else by now, nothing is done. Raises as `change.prepare` and `publish`.
    """
    if publish is None:
        return change.commit(root, trunk, wanted, environ)
    proposal = change.prepare(root, trunk, wanted, environ)
    return proposal if isinstance(proposal, NoChange) else publish(proposal)
