"""conf/deploy: the environments, who decides what they run, and whose releases are trusted."""

import re
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from trunkline.conf.previews import Previews
from trunkline.conf.prices import Budget, Prices
from trunkline.conf.rollout import Rollout
from trunkline.conf.signers import Signers
from trunkline.conf.targets import Targets
from trunkline.core.values import Group, Strict, Tuple, Word

_RESERVED = ("champion", "latest")


def _environment(name: str) -> str:
    if name in _RESERVED or re.fullmatch(r"v\d+", name):
        raise ValueError(f"'{name}' has another meaning: champion is production's, and versions are latest or vN")
    return name


def _address(url: str) -> str:
    # No message may repeat the address: a secret in it would end in a log.
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no address such as https://flights.example.org")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("holds more than host and path; a secret does not belong into git")
    return url.rstrip("/")


def _template(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or pure.suffix != ".j2":
        raise ValueError(f"'{path}' is no template of this repository, such as deploy/production.yaml.j2")
    return pure.as_posix()


Environment = Annotated[Word, AfterValidator(_environment)]
Address = Annotated[
    str,
    AfterValidator(_address),
    WithJsonSchema(
        {"type": "string", "title": "address, such as https://flights.example.org", "pattern": "^https?://[^@?#]+$"}
    ),
]
Template = Annotated[
    str,
    AfterValidator(_template),
    WithJsonSchema(
        {
            "type": "string",
            "title": "path, such as deploy/production.yaml.j2",
            "pattern": r"^(?!/|(.*/)?\.\./).+\.j2$",
        }
    ),
]


class ClientTls(Strict):
    """What `trunkline reconcile` shows endpoints that demand a certificate (mutual TLS).

    The files are on its machine; a relative path begins in the folder that it runs in.
    """

    certificate: str = Field(min_length=1, description="File of the certificate and its chain, in PEM.")
    key: str = Field(min_length=1, description="File of the certificate's private key, in PEM and without passphrase.")


class DeployTarget(Strict):
    """An environment that runs a version."""

    merge: Literal["automatic", "approval"] = Field(
        "approval", description="Whether the pull request of a promotion merges by itself, or waits for a person."
    )
    endpoints: Annotated[tuple[Address, ...], Tuple] = Field(
        (), description="Base addresses of what serves it; each answers `GET /version` with name, version and digest."
    )
    tls: ClientTls | None = Field(
        None,
        description="Files on the machine of `trunkline reconcile` of what it shows endpoints of https; null: nothing.",
    )
    manifests: Annotated[tuple[Template, ...], Tuple] = Field(
        (), description="Jinja2 templates of this repository (.j2) that `trunkline reconcile` renders for it."
    )
    rollout: Rollout | None = Field(
        None,
        description="The steps by which a version replaces another one; null: at once.",
    )
    previews: Previews | None = Field(
        None,
        description="Which of its requests the comment of a pull request shows the model's answers to; null: none.",
    )


class RetrainingRequest(Strict):
    """What becomes of the pull request of a retraining."""

    merge: Literal["automatic", "approval"] = Field(
        "approval",
        description="Whether it merges by itself once its checks and gates pass, or waits for a person; one that a "
        "person has changed always waits.",
    )


def _with_production(environments: dict[str, DeployTarget]) -> dict[str, DeployTarget]:
    if "production" not in environments:
        raise ValueError("lacks production, whose version is the champion that gates compare with")
    return environments


class Deploy(Group):
    """Environments, whose releases they run, and what `trunkline reconcile` may do."""

    key: ClassVar[str] = "deploy"

    signers: Signers = Field(
        default_factory=dict, description="Whose releases are believed; a version signed by none of these is refused."
    )
    recorders: Signers = Field(
        default_factory=dict,
        description="Whose stage records are believed: what these have signed is not run again by a workflow. Such as "
        "the workflow record; none of the signers.",
    )
    mlflow: Literal["correct", "report"] = Field(
        "correct", description="Whether a change by hand in MLflow's registry is undone, or only reported."
    )
    retrain: RetrainingRequest = RetrainingRequest()
    environments: Annotated[dict[Environment, DeployTarget], AfterValidator(_with_production)] = Field(
        description="What runs a version; production must be among them."
    )
    targets: Targets = Field(Targets(), description="What `trunkline render` writes for programs that run containers.")
    prices: Prices | None = Field(None, description="What a machine, bytes and traffic cost; null: no cost is shown.")
    budget: Budget | None = Field(None, description="What a change may cost at most; null: whatever it does.")

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.budget is not None and self.prices is None:
            raise ValueError("budget: limits what has no price; declare prices")
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for name, recorder in self.recorders.items():
            if recorder in self.signers.values():
                raise ValueError(
                    f"recorders.{name}: is a signer as well; who records what a stage gave needs no approval, and who "
                    "releases may: make another key"
                )
        return self
