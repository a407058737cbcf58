"""What a server needs of what is around it, by conf/serving and conf/deploy: the same for every target. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from trunkline.conf.deploy import Deploy
from trunkline.conf.serving import Serving, is_url
from trunkline.conf.tracking import Tracking, is_server
from trunkline.core.errors import UserError
from trunkline.core.params import Params

HOME = PurePosixPath("/srv")  # the project's folder in an image, which holds params.yaml
STORE = PurePosixPath("/store")  # what `trunkline reconcile` delivers to
USER = 65532  # of nobody, by the habit of images without a shell
_PASSWORDS = {"redis": "REDISCLI_AUTH", "postgresql": "PGPASSWORD"}
_PORTS = {"https": 443, "http": 80, "ssh": 22, "redis": 6379, "rediss": 6379, "postgresql": 5432}
_CLIENTS = {"redis": ("redis",), "postgresql": ("psycopg", "psycopg-binary")}


@dataclass(frozen=True)
class Server:
    """A server that follows an environment."""

    name: str  # of the model, with - for what no host may be called
    origin: str
    trunk: str
    serving: Serving

    @classmethod
    def of(cls, params: Params) -> "Server":
        """Take it from params.yaml; raises UserError for what would not start anywhere."""
        deploy, serving = params.group(Deploy), params.group(Serving)
        if not deploy.signers:
            raise UserError(
                f"{params.where}: deploy.signers: declares nobody, so that a server would believe no release; "
                "declare in conf/deploy who signs"
            )
        if deploy.targets.origin is None:
            raise UserError(
                f"{params.where}: deploy.targets.origin: is missing; write in conf/deploy where the repository is"
            )
        name = re.sub(r"[^a-z0-9]+", "-", params.name.lower()).strip("-")
        return cls(name, deploy.targets.origin, deploy.targets.trunk, serving)

    @property
    def ssh(self) -> bool:
        """Whether the repository is reached by ssh, with `key` and `known_hosts` of /secrets/git."""
        return not self.origin.startswith("https://")

    @property
    def port(self) -> int:
        """The port of HTTP."""
        return int(self.serving.bind.rpartition(":")[2]) or 8080

    @property
    def store_kind(self) -> str | None:
        """The service that keeps online features: redis, postgresql, or None for SQLite or none."""
        url = self.serving.online.store if self.serving.online else ""
        kind = urlsplit(url).scheme.partition("+")[0]
        return {"redis": "redis", "rediss": "redis", "unix": "redis", "postgresql": "postgresql"}.get(kind)

    @property
    def store_host(self) -> str | None:
        """The host of that service."""
        return urlsplit(self.serving.online.store).hostname if self.serving.online else None

    @property
    def clients(self) -> tuple[str, ...]:
        """Packages that speak to that service, which no lock of a server has."""
        return _CLIENTS.get(self.store_kind or "", ())

    @property
    def secrets(self) -> tuple[str, ...]:
        """Environment variables that hold a secret which the server reads; it only writes its log: no older key."""
        password = _PASSWORDS.get(self.store_kind or "")
        key, encrypt = (self.serving.log.key, self.serving.log.encrypt) if self.serving.log else (None, None)
        return tuple(dict.fromkeys(filter(None, (password, key, encrypt.key if encrypt else None))))

    @property
    def writes_arrow(self) -> bool:
        """Whether what locks/serve-arrow.txt adds is needed."""
        return self.serving.protocols.arrow or self.serving.log is not None

    def folders(self) -> dict[PurePosixPath, tuple[str, ...]]:
        """Return the folders of files that are secret or followed, absolute, each with the names of its files.

        Raises UserError for a file beside others of the project: it is replaced, not written, and so its folder is
        what has to be mounted.
        """
        folders: dict[PurePosixPath, tuple[str, ...]] = {}
        for key, name in self._files():
            path = HOME / name
            if path.parent == HOME or ".." in path.parts:
                raise UserError(
                    f"conf/serving: {key}: {name}: its folder is mounted, so that a new file of this name is seen; "
                    f"give it one of its own, such as secrets/{path.name}"
                )
            folders[path.parent] = (*folders.get(path.parent, ()), path.name)
        return dict(sorted(folders.items()))

    def volumes(self) -> dict[str, PurePosixPath]:
        """Return the folders, by name, in which the server writes what outlives it."""
        places = {}
        if self.serving.log and not is_url(self.serving.log.to):
            places["log"] = HOME / self.serving.log.to
        if self.serving.online and self.store_kind is None:
            file = HOME / self.serving.online.store.removeprefix("sqlite:///")
            if file.parent == HOME:
                raise UserError(
                    f"conf/serving: online.store: {file.name} lies beside what an image holds; give it a folder of its "
                    f"own, such as sqlite:///online/{file.name}"
                )
            places["online"] = file.parent
        return places

    def _files(self) -> Iterator[tuple[str, str]]:
        authentication, tls = self.serving.authentication, self.serving.tls
        if authentication and authentication.keys:
            yield "authentication.keys", authentication.keys
        if authentication and authentication.jwt and not is_url(authentication.jwt.jwks):
            yield "authentication.jwt.jwks", authentication.jwt.jwks
        for key in ("certificate", "key", "clients"):
            if tls and (file := getattr(tls, key)):
                yield f"tls.{key}", file


def environment(params: Params, name: str, where: str) -> str:
    """Return the name of a declared environment; raises UserError for another one."""
    declared: Mapping[str, object] = params.group(Deploy).environments
    if name not in declared:
        raise UserError(
            f"{params.where}: {where}: '{name}' is no environment; there are: {', '.join(sorted(declared))}"
        )
    return name


def egress(server: Server, tracking: Tracking) -> list[int]:
    """Return the ports that containers ask: of git, of https, of MLflow, of the store of online features."""
    addresses = [with_scheme(server.origin), "https://"]
    addresses += [tracking.uri] if is_server(tracking.uri) else []
    addresses += [server.serving.online.store] if server.serving.online else []
    parts = [urlsplit(address) for address in addresses]
    return sorted({part.port or _PORTS[part.scheme.partition("+")[0]] for part in parts})


def with_scheme(origin: str) -> str:
    """Return the address of a repository as a URL: git@host:path is ssh://git@host/path."""
    return origin if "://" in origin else f"ssh://{origin.replace(':', '/', 1)}"
