"""Whether MLflow answers at the address of conf/tracking, or of the environment."""

from collections.abc import Iterator

from trunkline.adapters.mlflow import MlflowStore
from trunkline.conf.tracking import URI, Tracking
from trunkline.core.addresses import shown
from trunkline.core.errors import TrunklineError
from trunkline.core.params import Params
from trunkline.doctor.findings import Finding, Setup, refused, works


def check(setup: Setup) -> Iterator[Finding]:
    """Ask MLflow for what it holds."""
    try:
        address = Params.read(setup.root).group(Tracking).address(setup.environ)
        exists = MlflowStore(address, setup.root).exists(f"{URI} comes before conf/tracking")
    except TrunklineError as error:
        yield refused("MLflow", error, f"correct tracking.uri in conf/tracking, or {URI}")
        return
    yield works("MLflow", f"{shown(address)} answers" if exists else f"the first run makes {shown(address)}")
