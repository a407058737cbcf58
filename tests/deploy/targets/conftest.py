"""What the archives of functions hold."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.targets import validators


@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> Path:
    """The packages of a server, as pip installs them with --target."""
    return validators.packages_of([ROOT / "locks/serve.txt"], tmp_path_factory.mktemp("function") / "packages")
