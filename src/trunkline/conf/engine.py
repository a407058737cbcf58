"""conf/engine: where features are joined and files are scored; no result depends on it, so its values rerun nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from trunkline.core.values import Group

Memory = Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,5}(MB|GB)$")]
Address = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$")]
_UNITS = {"MB": 10**6, "GB": 10**9}


class Engine(Group):
    """Who runs the partitions, and what each of them may take; DuckDB computes them, whoever runs them."""

    key: ClassVar[str] = "engine"

    executor: Literal["local", "ray", "spark"] = Field(
        "local",
        description="local: this process. ray, spark: the machines of a cluster of Ray or Spark, which share the "
        "project's folder and have its environment; needs the extra of the same name, and Spark needs Java 17.",
    )
    address: Address | None = Field(
        None,
        description="Ray's head, such as ray.example.com:6379, or Spark's master, such as spark.example.com:7077. "
        "null: this machine alone, for the run, or what Spark's own configuration or `spark-submit` names.",
    )
    folder: str = Field(
        ".cache/engine",
        min_length=1,
        description="Folder that all machines share, for what tasks leave to each other; it is removed after the run.",
    )
    memory: Memory = Field(
        "1GB", description="Memory that DuckDB may take in a task, such as 1GB; what is beyond goes to the disk."
    )
    cpus: int = Field(1, ge=1, le=1024, description="Processors that a task may take.")
    buckets: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Into how many tasks a view of a slice of time is cut, by a hash of the view's keys.",
    )

    @classmethod
    def of(cls, params: Mapping[str, Any], where: Path | str) -> Self:
        """Return the group as `Group.of` does, or its defaults: conf/ of older projects has none."""
        return super().of({cls.key: {}} | dict(params), where)

    @model_validator(mode="after")
    def _is_of_a_cluster(self) -> Self:
        if self.executor == "local" and (given := sorted(self.model_fields_set - {"executor"})):
            raise ValueError(
                f"{given[0]}: is of a cluster, and executor: local has none; remove it, or name executor: ray or spark"
            )
        return self

    @property
    def bytes(self) -> int:
        """The memory of a task, in bytes."""
        return int(self.memory[:-2]) * _UNITS[self.memory[-2:]]
