"""All files of a project: the framework's own, and those that are of the problem. Pure."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trunkline import __version__
from trunkline.conf.registry import PRODUCTION
from trunkline.init import conf_text, framework_files, incoming, template
from trunkline.init.framework_files import Forge, Setup
from trunkline.init.gates_text import Rule
from trunkline.init.problem import Problem


def texts(problem: Problem, forge: Forge, rules: Mapping[str, Rule]) -> dict[Path, str]:
    """Return the text of every file; `rules` are gates that a first run has given."""
    sources = [table.named.declared for table in problem.tables]
    kinds = frozenset(str(source["kind"]) for source in sources)
    setup = Setup(problem.name, conf_text.purpose(problem), kinds, forge, incoming.paths(sources))
    comment = template.text("models/registry.yaml").splitlines()[0]
    return {
        **framework_files.texts(setup),
        **{Path(name): template.text(name) for name in conf_text.shipped(problem)},
        **conf_text.texts(problem, rules),
        **{Path(name): template.text(name) for name in ("data/.gitignore", "models/.gitignore")},  # DVC edits them
        Path("models/registry.yaml"): f"{comment}\n{problem.name}: {{staging: latest, {PRODUCTION}: null}}\n",
        **_rendered(problem, forge),
    }


def _rendered(problem: Problem, forge: Forge) -> dict[Path, str]:
    """Return what only projects have: a README, tests and a container for editors."""
    folder = Path(__file__).with_name("project")
    loader = FileSystemLoader(folder)
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701  no HTML
    values = {"problem": problem, "option": conf_text.option(problem), "forge": forge, "version": __version__}
    names = {"README.md": "README.md.j2", "tests/test_project.py": "test_project.py.j2"}
    names[".devcontainer/devcontainer.json"] = "devcontainer.json.j2"
    return {Path(name): environment.get_template(source).render(values) for name, source in names.items()}
