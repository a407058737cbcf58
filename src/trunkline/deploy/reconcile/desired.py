"""What the trunk's tip declares: which version each environment is to run, and whether that version may run.

Everything is read at the tip of origin, never from a working tree, so a bare clone with a key that may only read is
enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from trunkline.adapters.git import ancestry, remote, repository
from trunkline.conf import registry, versions
from trunkline.conf.deploy import Deploy, DeployTarget
from trunkline.conf.registry import Arms, Declaration
from trunkline.conf.signers import Key, Keyless
from trunkline.conf.tracking import Tracking
from trunkline.conf.versions import Version
from trunkline.core import paths, safe_yaml
from trunkline.core.errors import TrunklineError, UserError, nearest, one_line
from trunkline.core.params import Params
from trunkline.deploy import course
from trunkline.deploy.mlflow.state import Release
from trunkline.deploy.reconcile import manifests
from trunkline.deploy.reconcile.state import Tried, Trouble, Wanted
from trunkline.release import verify
from trunkline.release.verify import RefusedError


@dataclass(frozen=True)
class DesiredState:
    """What the trunk's tip declares: the model's name, what each environment is to run, and by which rules."""

    tip: str
    name: str
    promotion: Deploy
    tracking: Tracking
    wanted: tuple[Wanted, ...]


def read(clone: Path, trunk: str, environ: Mapping[str, str], only: Sequence[str] = ()) -> DesiredState:
    """Fetch, and return what the tip of the trunk declares, of all environments or only of some.

    Raises UserError for a tip whose registry file or params.yaml is wrong, OutsideError where origin cannot be asked.
    """
    fetched = remote.fetch(clone, trunk, environ)
    at = _Tip(clone, fetched.tip, trunk, fetched.moved)
    params = at.params()
    name, promotion, tracking = params.name, params.group(Deploy), params.group(Tracking)
    registered = registry.parse(at.text(paths.REGISTRY), name, Path(at.where(paths.REGISTRY)))
    registered.check(promotion.environments)
    resolved = registered.resolve(versions.of(name, (tag.name for tag in ancestry.annotated(clone))))
    for environment in only:
        if environment not in resolved:
            raise UserError(f"--environment {environment}: no such environment{nearest(environment, resolved)}")
    wanted = tuple(
        _wanted(at, environment, registered.environments[environment], promotion, resolved[environment])
        for environment in sorted(resolved)
        if not only or environment in only
    )
    return DesiredState(fetched.tip, name, promotion, tracking, wanted)


def trusted(clone: Path, version: Version, signers: Mapping[str, Key | Keyless]) -> Release:
    """Return what a version is, if it may run; raises RefusedError, which says why, for one that may not."""
    verified = verify.chain(clone, version, signers)
    review = str(verified.run.review) if verified.run.review else None
    return Release(version, verified.digest, verified.facts.commit, verified.gates.verdict, review, verified.signed)


@dataclass(frozen=True)
class _Tip:
    """The files of the trunk's tip, and the tags that were moved at origin."""

    clone: Path
    commit: str
    trunk: str
    moved: tuple[str, ...]

    def where(self, path: Path) -> str:
        return f"{self.trunk}:{path.as_posix()}"

    def text(self, path: Path) -> str:
        content = self.files((path,))[path]
        if content is None:
            raise UserError(f"{self.where(path)}: there is no such file on the trunk")
        return content

    def files(self, wanted: Sequence[Path]) -> dict[Path, str | None]:
        contents = repository.files_at(self.clone, [self.commit], wanted).get(self.commit, {})
        return {path: contents[path].decode(errors="replace") if path in contents else None for path in wanted}

    def params(self) -> Params:
        try:
            content = safe_yaml.parse_yaml(self.text(paths.PARAMS))
        except yaml.YAMLError as error:
            raise UserError(f"{self.where(paths.PARAMS)}: not YAML: {one_line(error)}") from None
        if not isinstance(content, dict):
            raise UserError(f"{self.where(paths.PARAMS)}: not a mapping of groups")
        return Params(content, self.where(paths.PARAMS))


def _wanted(at: _Tip, environment: str, declaration: Declaration, promotion: Deploy, arms: Arms) -> Wanted:
    target, version = promotion.environments[environment], arms.current
    wanted = Wanted(
        environment,
        registry.label(declaration.version),
        version,
        candidate=_tried(at, declaration, promotion.signers, arms.candidate, target),
        held=tuple(map(registry.label, declaration.held)),
        endpoints=target.endpoints,
        tls=target.tls,
    )
    if version is None:
        return wanted
    release = _release(at, version, promotion.signers)
    if isinstance(release, Trouble):
        return replace(wanted, trouble=release)
    try:
        templates = at.files([Path(name) for name in target.manifests])
        values = {
            "name": version.name,
            "version": version.label,
            "environment": environment,
            "digest": release.digest,
            "commit": release.commit,
        }
        rendered = manifests.manifests({path.as_posix(): text for path, text in templates.items()}, values)
        return replace(wanted, release=release, manifests=rendered)
    except UserError as error:
        return replace(wanted, trouble=Trouble(str(error), error.exit_code))


def _tried(
    at: _Tip,
    declaration: Declaration,
    signers: Mapping[str, Key | Keyless],
    version: Version | None,
    target: DeployTarget,
) -> Tried | None:
    """Return the candidate of an environment's rollout; trouble with it is its own, and none of the version's."""
    candidate, rollout = declaration.candidate, target.rollout
    if candidate is None or version is None or rollout is None:
        return None
    number = course.number(candidate, rollout)
    share = candidate.share if candidate.share is not None else course.shadow_share(rollout)
    tried = Tried(candidate.kind, version, share, rollout.key, number, len(rollout.steps))
    release = _release(at, version, signers)
    return replace(tried, trouble=release) if isinstance(release, Trouble) else replace(tried, release=release)


def _release(at: _Tip, version: Version, signers: Mapping[str, Key | Keyless]) -> Release | Trouble:
    if version.tag in at.moved:
        return Trouble(f"{version}: origin has another tag of this name: it was moved; a version never changes", 1)
    try:
        return trusted(at.clone, version, signers)
    except TrunklineError as error:
        reason = "; ".join(str(error).splitlines())
        return Trouble(reason, 1 if isinstance(error, RefusedError) else error.exit_code)
