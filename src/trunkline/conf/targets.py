"""conf/deploy, targets: what `trunkline render` writes for other programs; nothing that is not declared.

No digest is looked up: which image is meant is declared, as its digest, and a tag, which can be moved, is refused.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from trunkline.core.values import Strict, Tuple, Word

_IMAGE = r"[a-z0-9][a-z0-9._:/-]*[a-z0-9]@sha256:[0-9a-f]{64}"
_ORIGIN = r"(https://[\w.-]+(:\d+)?/|ssh://\w+@[\w.-]+(:\d+)?/|\w+@[\w.-]+:)[\w./~-]+"


def _image(name: str) -> str:
    if not re.fullmatch(_IMAGE, name):
        raise ValueError(f"'{name[:100]}' names no digest; write what the registry says it is: NAME@sha256:64 digits")
    return name


def _origin(address: str) -> str:
    if not re.fullmatch(_ORIGIN, address):  # no message may repeat the address: a secret in it would end in a log
        raise ValueError("is no address such as https://host/team/flights.git or git@host:team/flights.git")
    return address


Image = Annotated[
    str,
    AfterValidator(_image),
    WithJsonSchema({"type": "string", "title": "image by its digest: NAME@sha256:…", "pattern": f"^{_IMAGE}$"}),
]
Origin = Annotated[
    str,
    AfterValidator(_origin),
    WithJsonSchema(
        {"type": "string", "title": "address of the repository, without a secret", "pattern": f"^{_ORIGIN}$"}
    ),
]


Label = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
]  # what a cluster calls things


class Services(Strict):
    """Images of what runs beside the server in compose; null: it is not there."""

    redis: Image | None = Field(None, description="Redis, where serving.online.store is an address of the host redis.")
    postgresql: Image | None = Field(
        None, description="PostgreSQL, where serving.online.store is an address of the host postgresql."
    )
    prometheus: Image | None = Field(None, description="Prometheus, with the rules of `trunkline render monitoring`.")
    alertmanager: Image | None = Field(None, description="Alertmanager, with the routes of the same; for prometheus.")
    grafana: Image | None = Field(None, description="Grafana, with the dashboard of the same; for prometheus.")


class Container(Strict):
    """Two Dockerfiles and a compose file: `trunkline render container`."""

    base: Image = Field(description="Image with Python 3.11 to 3.14 and pip, in which packages are installed.")
    runtime: Image | None = Field(
        None,
        description="Image in which the server runs, with `python3` of the same version: such as one without a shell; "
        "null: base.",
    )
    pipeline: Image | None = Field(
        None,
        description="Image with Python, git and libgomp1, in which the pipeline and `trunkline reconcile` run; null: "
        "base.",
    )
    environment: str = Field("production", description="The environment whose version the server of compose serves.")
    sklearn: bool = Field(False, description="Whether bundles with `runtime: sklearn` are served, which need more.")
    services: Services = Services()


class Replicas(Strict):
    """How many servers there are at least and at most."""

    min: int = Field(2, ge=1, le=1000, description="Servers that there always are.")
    max: int = Field(10, ge=1, le=1000, description="Servers that there are at most.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max: {self.max} is less than min: {self.min}")
        return self


class Resources(Strict):
    """What a container asks the cluster for; memory is its limit too, the processor has none."""

    cpu: str = Field(pattern=r"^\d+(\.\d+|m)?$", description="Processors, such as 1 or 500m.")
    memory: str = Field(pattern=r"^\d+[KMG]i$", description="Memory, such as 512Mi.")


class Machines(Strict):
    """The cluster that conf/engine names, as KubeRay or the operator of Spark makes it, and a run of the pipeline."""

    image: Image = Field(
        description="Image with Python, git and what the project's lock has, and Ray or Spark: for Ray, what "
        "pipeline.Dockerfile was built to."
    )
    version: str = Field(
        pattern=r"^\d+\.\d+\.\d+$", description="Version of Ray or Spark in the image, such as 2.60.0."
    )
    volume: Label = Field(
        description="PersistentVolumeClaim, ReadWriteMany, with the clone; all machines have it at /work."
    )
    workers: int = Field(2, ge=1, le=10_000, description="Machines, each with room for one task of conf/engine.")
    resources: Resources = Field(
        Resources(cpu="2", memory="8Gi"), description="What the one asks for where the stages themselves run."
    )


class Kubernetes(Strict):
    """A base and an overlay for each environment: `trunkline render kubernetes`."""

    server: Image = Field(description="The image that server.Dockerfile was built to.")
    reconciler: Image = Field(description="The image that pipeline.Dockerfile was built to.")
    secret_store: Label = Field(description="SecretStore of External Secrets; each namespace has its own of this name.")
    replicas: Replicas = Replicas()
    environments: dict[Word, Replicas] = Field(
        default_factory=dict, description="Replicas of single environments, by name."
    )
    resources: Resources = Field(
        Resources(cpu="500m", memory="512Mi"), description="What a server asks for; more workers need more."
    )
    reconciler_resources: Resources = Field(
        Resources(cpu="50m", memory="1Gi"), description="What the reconciler beside it asks for."
    )
    in_work: int = Field(
        8, ge=1, le=100_000, description="Requests in work (trunkline_requests_in_work) that one server is for."
    )
    keda: str | None = Field(
        None,
        pattern=r"^https?://[^@?#]+$",
        description="Prometheus that KEDA asks how much is in work; null: a HorizontalPodAutoscaler, which takes it "
        "from an adapter of the cluster's metrics.",
    )
    clients: Annotated[tuple[Label, ...], Tuple] = Field(
        (), description="Namespaces whose pods may ask the servers; all others may not."
    )
    engine: Machines | None = Field(
        None, description="The cluster of conf/engine, for KubeRay or the operator of Spark; null: none."
    )
    monitoring: Label = Field("monitoring", description="Namespace of the Prometheus that scrapes the servers.")
    argo_rollouts: Literal["istio"] | None = Field(
        None,
        description="The mesh by which Argo Rollouts splits requests, by the shares of models/registry.yaml; null: "
        "each server splits rows, by key.",
    )
    kserve: bool = Field(
        False,
        description="Whether KServe runs the servers, by an InferenceService, and splits requests by the shares of "
        "models/registry.yaml; with keda.",
    )
    argo_cd: Label | None = Field(None, description="Namespace of Argo CD, which gets Applications; null: none.")
    flux: Label | None = Field(None, description="Namespace of Flux, which gets Kustomizations; null: none.")

    @model_validator(mode="after")
    def _split_once(self) -> Self:
        if self.kserve and self.argo_rollouts:
            raise ValueError("kserve and argo_rollouts both split; declare one of them")
        if self.kserve and self.keda is None:
            raise ValueError("kserve: scales by KEDA; declare keda, the Prometheus that it asks")
        return self


class Scheduled(Strict):
    """When a scheduler runs the pipeline, and what becomes of the results."""

    schedule: str | None = Field(
        None,
        pattern=r"^[\d*/,-]+( [\d*/,-]+){4}$",
        description="When, as cron writes it, in UTC: such as 0 3 * * 1; null: when a person starts it.",
    )
    push: bool = Field(
        False, description="Whether results are committed to the trunk, once their outputs are in DVC's remote."
    )


class Worker(Scheduled):
    """A scheduler whose tasks run in a clone on its worker: `trunkline render airflow`, `dagster` and `prefect`."""

    project: str = Field(
        pattern=r"^/[\w./-]+$", description="The clone on the worker, for these runs alone, with read access to origin."
    )
    tasks: Literal["one", "stages"] = Field(
        "one", description="one: `trunkline ci reproduce run`; stages: a task for each stage of dvc.yaml."
    )


class ArgoWorkflows(Scheduled):
    """A WorkflowTemplate or CronWorkflow: `trunkline render argo-workflows`."""

    image: Image = Field(description="The image that pipeline.Dockerfile was built to.")
    tasks: Literal["one", "stages"] = Field(
        "one", description="one: `trunkline ci reproduce run`; stages: a task for each stage of dvc.yaml."
    )
    storage: str = Field("20Gi", pattern=r"^\d+[KMGT]i$", description="Room for the clone and its data.")
    resources: Resources = Field(Resources(cpu="2", memory="8Gi"), description="What a task asks for.")


class Databricks(Scheduled):
    """A bundle with a job: `trunkline render databricks`."""

    spark_version: str = Field(
        pattern=r"^[\w.-]+$", description="Databricks Runtime with Python 3.11 to 3.13, such as 16.4.x-scala2.12."
    )
    node_type: str = Field(pattern=r"^[\w.-]+$", description="The machine that the job runs on, such as m5.xlarge.")


class CloudRun(Strict):
    """A service of Google Cloud Run: `trunkline render cloud-run`."""

    server: Image = Field(description="The image that server.Dockerfile was built to.")
    reconciler: Image = Field(description="The image that pipeline.Dockerfile was built to.")
    environment: str = Field("production", description="The environment whose version it serves.")
    service_account: str = Field(
        pattern=r"^[a-z0-9-]+@[a-z0-9.-]+$", description="Whose rights it has: reading secrets and DVC's remote."
    )
    replicas: Replicas = Field(Replicas(min=1), description="How many instances there are.")
    resources: Resources = Field(Resources(cpu="1", memory="1Gi"), description="What a server may take.")
    reconciler_resources: Resources = Field(
        Resources(cpu="500m", memory="1Gi"), description="What the reconciler beside it may take."
    )
    in_work: int = Field(8, ge=1, le=1000, description="Requests that one instance answers at a time.")


class Development(Strict):
    """What an editor needs: `trunkline render development`."""

    base: Image = Field(description="Image with Python 3.11 to 3.13, git and libgomp1, in which the lock is installed.")


class Cloud(Strict):
    """What a cloud has of a model, by Terraform; without images, only what they and the data are kept in."""

    environment: str = Field("production", description="The environment whose version the servers serve.")
    bucket: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]$",
        description="Name of the bucket to be made, of nobody else; of Azure, a storage account without -.",
    )
    server: Image | None = Field(
        None,
        description="The image that server.Dockerfile was built to; null: no servers yet, as before the first push.",
    )
    reconciler: Image | None = Field(
        None, description="The image that pipeline.Dockerfile was built to; null, if server is."
    )
    alerts: str = Field(pattern=r"^[\w.+-]+@[\w.-]+$", description="Address that is written to when servers fail.")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.server is None) != (self.reconciler is None):
            raise ValueError("server and reconciler run beside each other; declare both, or neither")
        return self


class Aws(Cloud):
    """A bucket, a registry, secrets, servers on Fargate and an alarm."""

    region: str = Field(pattern=r"^[a-z]+(-[a-z]+)+-\d$", description="Region, such as eu-central-1.")
    vpc: str = Field(pattern=r"^vpc-[0-9a-f]+$", description="The network that servers are in.")
    subnets: Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]+$")], ...], Tuple] = Field(
        min_length=1, description="Its subnets for servers, without addresses of their own, with a way out."
    )
    clients: Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]+$")], ...], Tuple] = Field(
        (), description="Security groups that may ask the servers; all others may not."
    )
    servers: int = Field(2, ge=1, le=1000, description="How many servers there are.")
    cpu: Literal[512, 1024, 2048, 4096] = Field(
        1024, description="What a server and its reconciler may take: 1024 are one processor."
    )
    memory: int = Field(2048, multiple_of=1024, description="Memory of both, in MiB: 2 to 8 times cpu, 30720 at most.")

    @model_validator(mode="after")
    def _sold(self) -> Self:
        if not 2 * self.cpu <= self.memory <= min(8 * self.cpu, 30720):
            raise ValueError(f"memory: {self.memory} is not sold with cpu: {self.cpu}; write 2 to 8 times as much")
        return self


class Google(Cloud):
    """A bucket, a registry, secrets, a service of Cloud Run and an alert."""

    project: str = Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$", description="The project that all of it is in.")
    region: str = Field(pattern=r"^[a-z]+-[a-z]+\d+$", description="Region, such as europe-west3.")
    clients: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^(serviceAccount|group|user):[\w.+-]+@[\w.-]+$")], ...], Tuple
    ] = Field((), description="Who may ask, such as serviceAccount:shop@project.iam.gserviceaccount.com.")
    replicas: Replicas = Field(Replicas(min=1), description="How many instances there are.")
    resources: Resources = Field(Resources(cpu="1", memory="1Gi"), description="What a server may take.")
    reconciler_resources: Resources = Field(
        Resources(cpu="500m", memory="1Gi"), description="What the reconciler beside it may take."
    )
    in_work: int = Field(8, ge=1, le=1000, description="Requests that one instance answers at a time.")


class Azure(Cloud):
    """A storage account, a registry, a key vault, a container app and an alert."""

    subscription: str = Field(pattern=r"^[0-9a-f-]{36}$", description="The subscription that all of it is in.")
    region: str = Field(pattern=r"^[a-z]+\d?$", description="Region, such as westeurope.")
    registry: str = Field(pattern=r"^[a-z0-9]{5,50}$", description="Name of the registry to be made, of nobody else.")
    vault: str = Field(
        pattern=r"^[a-z][a-z0-9-]{1,22}[a-z0-9]$", description="Name of the key vault to be made, of nobody else."
    )
    replicas: Replicas = Field(Replicas(min=1), description="How many servers there are.")
    cpu: float = Field(
        1.0, ge=0.25, le=3.5, multiple_of=0.25, description="Processors of a server; its reconciler has another half."
    )
    in_work: int = Field(8, ge=1, le=1000, description="Requests that one server is for.")


class Terraform(Strict):
    """A main.tf.json for each cloud: `trunkline render terraform`."""

    aws: Aws | None = Field(None, description="Amazon Web Services.")
    google: Google | None = Field(None, description="Google Cloud.")
    azure: Azure | None = Field(None, description="Microsoft Azure.")


class Web(Strict):
    """Trees of `trunkline export --to web` in single precision, as long as the holdout's scores stay within limits."""

    precision: Literal["float32"] = Field(description="What trees compare and add in.")
    tolerance: float = Field(
        1e-6,
        gt=0,
        allow_inf_nan=False,
        description="A difference that is none; of scores above one relative to them.",
    )
    rows: float = Field(
        ge=0, le=1, description="The largest share of the holdout's rows that may differ by more than `tolerance`."
    )
    difference: float = Field(
        gt=0, allow_inf_nan=False, description="The largest difference that any of them may have."
    )


class Targets(Strict):
    """What `trunkline render` writes, beside monitoring; null: it is refused."""

    origin: Origin | None = Field(
        None, description="Where the repository is, for what reads the trunk: `trunkline reconcile`, Argo CD, Flux."
    )
    trunk: str = Field("main", pattern=r"^[\w./-]+$", description="The branch that production follows.")
    container: Container | None = Field(None, description="Dockerfiles and a compose file.")
    kubernetes: Kubernetes | None = Field(None, description="Manifests for Kustomize, Argo CD and Flux.")
    airflow: Worker | None = Field(None, description="A DAG of Apache Airflow.")
    dagster: Worker | None = Field(None, description="A job of Dagster.")
    prefect: Worker | None = Field(None, description="A flow of Prefect.")
    argo_workflows: ArgoWorkflows | None = Field(None, description="A workflow of Argo.")
    databricks: Databricks | None = Field(None, description="A bundle with a job of Databricks.")
    cloud_run: CloudRun | None = Field(None, description="A service of Google Cloud Run.")
    terraform: Terraform | None = Field(None, description="A bucket, a registry, secrets and servers of a cloud.")
    web: Web | None = Field(
        None, description="A smaller graph for browsers, whose scores differ; null: the bundle's own numbers."
    )
    development: Development | None = Field(None, description="A dev container, VS Code and a compose file for both.")
