"""`trunkline render TARGET`: what conf/ declares, as the files that other programs read."""

import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trunkline.cli import options
from trunkline.core.errors import UserError

if TYPE_CHECKING:
    from trunkline.conf.registry import Registry
    from trunkline.core.params import Params
    from trunkline.deploy.targets.container import Place


@click.group(short_help="Write what conf/ declares as files of other programs.")
def render() -> None:
    """Write what conf/ declares as the files that other programs read."""


Command = TypeVar("Command", bound=Callable[..., Any])


def _writes(command: Command) -> Command:
    """Add what every target has: where to, and whether to write."""
    for option in (
        options.project("The folder whose params.yaml has what conf/ declares."),
        click.option(
            "--check", is_flag=True, help="Write nothing; exit 1 if the folder does not hold what would be written."
        ),
        options.dry_run("Write nothing; say what would be written."),
        click.option(
            "-o", "--output", "folder", required=True, metavar="FOLDER", help="Where to; it is made if it is missing.",
            type=click.Path(file_okay=False, path_type=Path),
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@render.command(short_help="Write rules, routes and a dashboard of conf/monitoring.")
@_writes
@click.pass_context
def monitoring(context: click.Context, folder: Path, dry_run: bool, check: bool, project: Path) -> None:
    """Write prometheus-rules.yml, alertmanager.yml and grafana-dashboard.json of conf/monitoring: docs/alerting.md.

    An address of a webhook that `url_env` names is taken from the environment, and alertmanager.yml, which then holds
    it, can be read by its owner alone. With --check, exits 1 if a file is missing or another one.
    """
    target = _Target("monitoring", "conf/monitoring", folder, dry_run, check)
    texts, private = _texts(project)
    context.exit(target.put(texts, private))


@render.command(short_help="Write Dockerfiles and a compose file of conf/deploy.")
@_writes
@click.pass_context
def container(context: click.Context, folder: Path, dry_run: bool, check: bool, project: Path) -> None:
    """Write Dockerfiles of the server and the pipeline, and a compose file of what conf/ declares: docs/targets.md.

    The folder is in the project, whose files the Dockerfiles copy. With --check, exits 1 if a file is missing or
    another one.
    """
    from trunkline.core.params import Params
    from trunkline.deploy.targets import container as target_container

    target = _Target("container", "conf/", folder, dry_run, check)
    context.exit(target.put(target_container.render(Params.read(project), _place(project, folder))))


@render.command(short_help="Write manifests for Kustomize, Argo CD and Flux of conf/deploy.")
@_writes
@click.pass_context
@click.option(
    "--measure",
    "rate",
    metavar="REQUESTS",
    type=click.FloatRange(0, min_open=True),
    help="First start a server of models/bundle here, ask it for ten seconds, and write into conf/deploy what it takes "
    "for so many requests a second.",
)
def kubernetes(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context, folder: Path, dry_run: bool, check: bool, project: Path, rate: float | None
) -> None:
    """Write a base and an overlay for each environment of conf/deploy, for Kustomize: docs/targets.md.

    Where Argo Rollouts or KServe split, an overlay holds what models/registry.yaml says of its environment. Where it
    declares machines for conf/engine, they are written for KubeRay or the operator of Spark.

    The folder is in the project, since Argo CD and Flux read it of the trunk. With --check, exits 1 if a file is
    missing or another one.
    """
    from trunkline.core.params import Params
    from trunkline.deploy.targets import kubernetes as target_kubernetes

    if rate and (check or dry_run):
        raise click.UsageError("--measure writes conf/deploy, which does not go with --check or --dry-run")
    if rate:
        _measure(project, rate)
    target = _Target("kubernetes", "conf/", folder, dry_run, check)
    params = Params.read(project)
    texts = target_kubernetes.render(params, _below(project, folder), _registered(project, params))
    context.exit(target.put(texts))


def _registered(project: Path, params: "Params") -> "Registry | None":
    """Return models/registry.yaml, where what is rendered holds versions."""
    from trunkline.conf import registry
    from trunkline.conf.deploy import Deploy
    from trunkline.core import paths

    deploy = params.group(Deploy)
    declared = deploy.targets.kubernetes
    if declared is None or not (declared.argo_rollouts or declared.kserve):
        return None
    registered = registry.read(project / paths.REGISTRY, params.name)
    registered.check(deploy.environments)
    return registered


_SECONDS = 10.0  # that a server is asked for


def _measure(project: Path, rate: float) -> None:
    """Write what a server takes at so many requests a second into conf/deploy, and compose params.yaml of it."""
    from trunkline.conf.deploy import Deploy
    from trunkline.conf.serving import Serving
    from trunkline.core import files, paths
    from trunkline.core.params import Params
    from trunkline.pipeline.compose import compose, rewrite

    try:
        from trunkline.deploy.targets import measure
    except ModuleNotFoundError as error:
        raise click.UsageError(f"--measure needs {error.name}: pip install 'trunkline[serve]'") from None
    params = Params.read(project)
    declared = params.group(Deploy).targets.kubernetes
    if declared is None:
        raise UserError(f"{params.where}: deploy.targets.kubernetes: is missing; declare it in conf/deploy")
    serving = params.group(Serving).placed(project)
    taken = measure.measure(project / paths.BUNDLE, serving, declared.in_work, _SECONDS)
    click.echo(
        f"{taken.memory / 1e6:.0f} MB, and {taken.cpu * 1e6:.0f} µs of a processor for each of {taken.requests:,}"
    )
    change = ("deploy", "targets", "kubernetes", "resources"), taken.resources(rate)
    for path, text in rewrite.rewritten(compose.compose(project / paths.CONF), [change]).items():
        files.write_text(path, text)
        click.echo(f"{path}: written")
    files.write_text(project / paths.PARAMS, compose.render(compose.compose(project / paths.CONF).content))


@render.command(short_help="Write a dev container, and a compose file with Jupyter and MLflow, of conf/deploy.")
@_writes
@click.pass_context
def development(context: click.Context, folder: Path, dry_run: bool, check: bool, project: Path) -> None:
    """Write a dev container with VS Code's settings, and a compose file with Jupyter and MLflow.

    Editors look for it in .devcontainer of the project. With --check, exits 1 if a file is missing or another one.
    """
    from trunkline.core.params import Params
    from trunkline.deploy.targets import development as target_development

    target = _Target("development", "conf/deploy", folder, dry_run, check)
    context.exit(target.put(target_development.render(Params.read(project), _place(project, folder))))


@render.command(short_help="Write what Terraform makes in a cloud, of conf/deploy.")
@_writes
@click.pass_context
def terraform(context: click.Context, folder: Path, dry_run: bool, check: bool, project: Path) -> None:
    """Write a main.tf.json for each cloud of conf/deploy: bucket, registry, secrets, servers, alert: docs/targets.md.

    Nothing is asked of a cloud, and no secret is in it. With --check, exits 1 if a file is missing or another one.
    """
    from trunkline.core.params import Params
    from trunkline.deploy.targets import terraform as target_terraform

    target = _Target("terraform", "conf/deploy", folder, dry_run, check)
    context.exit(target.put(target_terraform.render(Params.read(project))))


@render.command("cloud-run", short_help="Write a service of Google Cloud Run of conf/deploy.")
@_writes
@click.pass_context
def cloud_run(context: click.Context, folder: Path, dry_run: bool, check: bool, project: Path) -> None:
    """Write a service for Google Cloud Run, which follows an environment.

    With --check, exits 1 if a file is missing or another one.
    """
    from trunkline.core.params import Params
    from trunkline.deploy.targets import cloud_run as target_cloud_run

    target = _Target("cloud-run", "conf/", folder, dry_run, check)
    context.exit(target.put(target_cloud_run.render(Params.read(project))))


def _scheduler(kind: str, name: str, what: str) -> None:
    """Add the verb of a scheduler, whose files all come of dvc.yaml and conf/deploy."""
    verb = kind.replace("_", "-")

    @render.command(verb, short_help=f"Write {what} of conf/deploy.")
    @_writes
    @click.pass_context
    def command(context: click.Context, folder: Path, dry_run: bool, check: bool, project: Path) -> None:
        from trunkline.core.params import Params
        from trunkline.deploy.targets import scheduler

        target = _Target(verb, "conf/deploy", folder, dry_run, check)
        context.exit(target.put(scheduler.render(Params.read(project), kind, _stages(project))))

    command.help = (
        f"Write {what}, which runs `trunkline ci reproduce run`; {name} runs it, nothing is run here.\n\n"
        "With --check, exits 1 if a file is missing or another one."
    )


for _scheduled in (
    ("airflow", "Apache Airflow", "a DAG for Apache Airflow"),
    ("dagster", "Dagster", "a job for Dagster"),
    ("prefect", "Prefect", "a flow for Prefect"),
    ("argo_workflows", "Argo Workflows", "a workflow for Argo"),
    ("databricks", "Databricks", "a bundle with a job for Databricks"),
):
    _scheduler(*_scheduled)


def _stages(project: Path) -> Mapping[str, Any]:
    """Return the stages of dvc.yaml."""
    from trunkline.core.safe_yaml import parse_yaml

    try:
        content = parse_yaml((project / "dvc.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{project / 'dvc.yaml'}: there is none, which tasks could be made of") from None
    stages = content.get("stages") if isinstance(content, Mapping) else None
    if not isinstance(stages, Mapping) or not stages:
        raise UserError(f"{project / 'dvc.yaml'}: has no stages, which tasks could be made of")
    return stages


def _place(project: Path, folder: Path) -> "Place":
    """Return where the folder is in the project, and the lock with every extra."""
    from trunkline.core.paths import FRAMEWORK
    from trunkline.deploy.targets.container import Place

    framework = not (project / FRAMEWORK).is_file()
    place = Place(_below(project, folder), framework, "")
    try:
        return replace(place, lock=(project / place.whole).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{project / place.whole}: there is no such lock, which images are installed from") from None


def _below(project: Path, folder: Path) -> PurePosixPath:
    """Return a folder as the project names it; raises UserError for one outside."""
    try:
        return PurePosixPath(folder.resolve().relative_to(project.resolve()).as_posix())
    except ValueError:
        raise UserError(f"{folder}: is outside of the project {project}; name a folder in it: --output") from None


@dataclass(frozen=True)
class _Target:
    """A folder that a target is written to, or compared with."""

    verb: str
    declared: str  # what the files are written of
    folder: Path
    dry_run: bool
    check: bool

    def put(self, texts: Mapping[str, str], private: Collection[str] = ()) -> int:
        """Write what differs, say what becomes of each file, and return the exit code; `private` hold a secret."""
        if self.dry_run and self.check:
            raise click.UsageError("--dry-run does not go with --check, which writes nothing either; leave one out")
        changed = [name for name, text in texts.items() if _content(self.folder / name) != text]
        for name in texts:
            if name in changed and not (self.check or self.dry_run):
                _write(self.folder / name, texts[name], private=name in private)
            click.echo(f"{self.folder / name}: {self._state(name in changed)}")
        left = self._left(texts)
        for path in left:
            click.echo(f"{path}: {self.declared} declares it no more; remove it")
        return 1 if self.check and (changed or left) else 0

    def _left(self, texts: Mapping[str, str]) -> list[Path]:
        """Return files that this target wrote into the folder once, and would not write now."""
        mark = f"Written by `trunkline render {self.verb}`"
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        others = [path for path in paths if path.relative_to(self.folder).as_posix() not in texts]
        return [path for path in others if mark in (_content(path) or "")[:100]]

    def _state(self, changed: bool) -> str:
        if not changed:
            return "as declared"
        if self.check:
            return f"is not what {self.declared} declares; run: trunkline render {self.verb}"
        return "would be written" if self.dry_run else "written"


def _texts(project: Path) -> tuple[dict[str, str], set[str]]:
    """Return the texts by name of the file, and which of them hold a secret."""
    from trunkline.conf.monitoring import Monitoring
    from trunkline.core.params import Params
    from trunkline.monitor.render import alertmanager, dashboard, rules

    declared = Params.read(project).group(Monitoring)
    texts = {
        "prometheus-rules.yml": rules.render(declared),
        "alertmanager.yml": alertmanager.render(declared.alerting, os.environ),
        "grafana-dashboard.json": dashboard.render(declared),
    }
    receivers = declared.alerting.receivers.values()
    secret = any(receiver.webhook and receiver.webhook.url_env for receiver in receivers)
    return texts, {"alertmanager.yml"} if secret else set()


def _content(path: Path) -> str | None:
    """Return what a file holds; None where there is none, or no text."""
    try:
        return path.read_bytes().decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str, *, private: bool) -> None:
    from trunkline.core import files

    if not private:
        files.write_text(path, text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False
    ) as file:
        file.write(text)  # of its owner alone from the first byte on
    Path(file.name).replace(path)
