"""Whether the programs are there that only tests of this project need."""

import shutil
from collections.abc import Iterator

from trunkline.doctor.findings import Finding, Setup, absent, works

# What each is for, the names by which it goes, and how to get it.
PROGRAMS = (
    ("browser", ("chromium", "google-chrome", "chromium-browser"), "the page of a review", "Debian: chromium"),
    ("browser's driver", ("chromedriver",), "the page of a review", "Debian: chromium-driver"),
    ("Node.js", ("node",), "workflows", "install version 20 or newer"),
    ("npm", ("npm",), "workflows", "it comes with Node.js"),
    ("Java", ("java",), "the Jenkinsfile", "install version 17 or newer"),
)


def check(setup: Setup) -> Iterator[Finding]:
    """Look for each program on PATH."""
    for what, names, purpose, advice in PROGRAMS:
        program = next(filter(None, (shutil.which(name, path=setup.environ.get("PATH", "")) for name in names)), None)
        missing = f"not on PATH, so that the tests of {purpose} are skipped"
        yield works(what, program) if program else absent(what, missing, advice)
