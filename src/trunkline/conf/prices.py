"""conf/deploy, prices and budget: what a machine, bytes and traffic cost, and what a change may cost at most."""

from typing import Annotated

from pydantic import Field

from trunkline.core.values import Strict

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Machine(Strict):
    """What is paid for by the hour while something runs."""

    cpus: float = Field(1.0, ge=0, allow_inf_nan=False, description="Processors.")
    memory_gb: float = Field(0.0, ge=0, allow_inf_nan=False, description="Memory, in GB (10^9 bytes).")
    gpus: float = Field(0.0, ge=0, allow_inf_nan=False, description="GPUs.")


class Prices(Strict):
    """Unit prices; of what has none, nothing is shown."""

    currency: str = Field(pattern=r"^[A-Z]{3}$", description="Its letters in ISO 4217, such as EUR.")
    cpu_hour: Price | None = Field(None, description="Price of a processor for an hour.")
    memory_gb_hour: Price | None = Field(None, description="Price of a GB of memory for an hour.")
    gpu_hour: Price | None = Field(None, description="Price of a GPU for an hour.")
    stored_gb_month: Price | None = Field(None, description="Price of a GB in DVC's remote for a month of 30 days.")
    out_gb: Price | None = Field(None, description="Price of a GB that leaves DVC's remote.")
    run: Machine = Field(Machine(), description="The machine that stages run on.")
    serve: Machine = Field(Machine(), description="What a server that scores a row is.")
    servers: int | None = Field(
        None, ge=0, le=100_000, description="Servers that are always there; null: only seconds of predictions are paid."
    )


class Budget(Strict):
    """What a change may cost at most, in the currency of the prices; null: no limit."""

    run: Price | None = Field(None, description="A run of the stages that it changes.")
    million_predictions: Price | None = Field(None, description="A million predictions, one at a time.")
    month: Price | None = Field(None, description="30 days of predictions and of its stored outputs.")
    advisory: bool = Field(False, description="true: is reported, but blocks nothing.")
