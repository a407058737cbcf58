"""Which forge this is: said by the environment that its runs have, and by nothing that is in the repository."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from trunkline.adapters.forge.api import Forge
from trunkline.core.errors import UserError

GITHUB = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN")
GITLAB = ("CI_API_V4_URL", "CI_PROJECT_ID", "GITLAB_TOKEN")

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def connect(environ: Mapping[str, str]) -> Forge:
    """Return the repository of this environment; raises UserError for a variable that is missing or wrong."""
    if environ.get(GITHUB[1]):
        address, repository, token = _settings(environ, {GITHUB[0]: "https://api.github.com"}, GITHUB)
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise UserError(f"{GITHUB[1]}: is not owner/name")
        try:
            from trunkline.adapters.forge.github import GitHub
        except ImportError:
            raise _uninstalled("PyGithub") from None
        return GitHub(address, repository, token)
    if environ.get(GITLAB[1]):
        address, project, token = _settings(environ, {}, GITLAB)
        if not re.fullmatch(r"[0-9]+", project):
            raise UserError(f"{GITLAB[1]}: is not a project's number")
        try:
            from trunkline.adapters.forge.gitlab import GitLab
        except ImportError:
            raise _uninstalled("python-gitlab") from None
        return GitLab(address, project, token)
    raise UserError(f"no forge: set {', '.join(GITHUB[1:])}, or {', '.join(GITLAB)}")


def named(environ: Mapping[str, str]) -> Forge | None:
    """Return the repository of this environment, if it names one and has a token for it; raises as `connect`."""
    said = any(environ.get(repository) for _, repository, _ in (GITHUB, GITLAB))
    token = any(environ.get(token) for _, _, token in (GITHUB, GITLAB))
    return connect(environ) if said and token else None


def _settings(
    environ: Mapping[str, str], default: Mapping[str, str], names: tuple[str, str, str]
) -> tuple[str, str, str]:
    settings = {name: environ.get(name) or default.get(name, "") for name in names}
    missing = [name for name, value in settings.items() if not value]
    if missing:
        raise UserError(f"{missing[0]}: is not set; a workflow passes it in env:")
    address, repository, token = settings.values()
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise UserError(f"{names[0]}: does not begin with https://, and a token is not sent in the clear")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"{names[2]}: is no token: it has spaces, line ends or letters that no token has")
    return address.rstrip("/"), repository, token


def _uninstalled(name: str) -> UserError:
    return UserError(f"{name} is not installed; run: pip install 'trunkline[forge]'")
