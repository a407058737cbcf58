"""All of conf/ in one structure: what params.yaml holds."""

from typing import Annotated

from pydantic import Field, StringConstraints

from trunkline.params.base import Strict
from trunkline.params.contract import Contract
from trunkline.params.data import Data
from trunkline.params.evaluation import Evaluation
from trunkline.params.features import Features
from trunkline.params.gates import Gates
from trunkline.params.model import Model
from trunkline.params.promotion import Promotion
from trunkline.params.review import Review
from trunkline.params.search import Search
from trunkline.params.serving import Serving
from trunkline.params.tracking import Tracking


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
    serving: Serving
    promotion: Promotion
    review: Review
    tracking: Tracking
