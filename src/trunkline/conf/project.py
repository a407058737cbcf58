"""All of conf/ in one structure: what params.yaml holds."""

from typing import Annotated

from pydantic import Field, StringConstraints

from trunkline.conf.bundle import Packaging
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.deploy import Deploy
from trunkline.conf.engine import Engine
from trunkline.conf.evaluation import Evaluation
from trunkline.conf.features import Features
from trunkline.conf.gates import Gates
from trunkline.conf.model import Model
from trunkline.conf.monitoring import Monitoring
from trunkline.conf.review import Review
from trunkline.conf.search import Search
from trunkline.conf.serving import Serving
from trunkline.conf.tracking import Tracking
from trunkline.core.values import Strict


class Project(Strict):
    """A composed project."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)] = Field(
        description="Name of the model; its versions are tagged name@vN."
    )
    seed: int = Field(ge=0, lt=2**32, description="Seed of everything that is random.")
    data: Data
    contract: Contract
    features: Features
    model: Model
    search: Search
    evaluation: Evaluation
    gates: Gates
    bundle: Packaging
    deploy: Deploy
    serving: Serving
    monitoring: Monitoring
    review: Review
    tracking: Tracking
    engine: Engine = Engine()
