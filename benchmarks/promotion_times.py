"""From a merge to production and back, each step timed, in the rig that the tests run the workflows in.

It is the test of tests/e2e/test_promotion.py, with all that it asserts: two releases, two promotions, a rollback and
its revert, of a model of a short window. The forge is a stand-in on this machine and takes no time; the reconciler
looks every second. Run: python -m benchmarks.promotion_times
"""

import logging
import sys
import tempfile
from pathlib import Path

from tests.e2e import loop, test_promotion
from tests.e2e.conftest import shortened

ROOT = Path(__file__).parent.parent


def tell(step: str, seconds: object) -> None:
    """Print a step."""
    sys.stdout.write(f"| {step} | {seconds} |\n")


def main() -> None:
    """Set everything up, go round once, print a table."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with loop.world(shortened(ROOT, folder / "small"), folder / "loop") as made:
            sys.stdout.write("| step | seconds |\n|---|---|\n")
            test_promotion.test_from_a_merge_to_production_and_back(made, tell)


if __name__ == "__main__":
    main()
