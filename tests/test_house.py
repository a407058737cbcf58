"""The rules of the house that no other tool checks."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PIPELINE, DEV, SPARK = (ROOT / f"locks/{name}.txt" for name in ("pipeline", "dev", "spark"))
OUTPUTS = {"data", "models", "mlruns", "mlartifacts", "site", "__pycache__"}


def files(*suffixes: str, under: str = ".") -> Iterator[Path]:
    """Yield the project's own files, without asking git: an unpacked archive has no history."""
    for path in sorted((ROOT / under).rglob("*")):
        *folders, name = path.relative_to(ROOT).parts
        foreign = any(folder in OUTPUTS or folder[0] == "." for folder in folders if folder not in (".ci", ".github"))
        if (
            path.is_file()
            and not path.is_symlink()  # what it leads to is looked at where it is
            and not foreign
            and not name.startswith("mlflow.db")
            and (not suffixes or path.suffix in suffixes)
        ):
            yield path


def declared() -> dict[str, Requirement]:
    """Return every direct dependency of pyproject.toml, by canonical name."""
    project = PROJECT["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    requirements = [Requirement(text) for texts in lists for text in texts]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def locked(path: Path) -> dict[str, str]:
    """Return the version of every package in a lock; a package stands there once for all Pythons."""
    entries = re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    versions = dict(entries)
    assert len(entries) == len(versions), f"{path.name}: more than one version of a package"
    return versions


@pytest.mark.parametrize("path", sorted(ROOT.glob("locks/*.txt")), ids=lambda path: path.name)
def test_locks_hold_versions_and_hashes_and_no_address(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|\bfile:|@", text)
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked(path)) > 0
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_development_lock_holds_the_pipeline_lock():
    pipeline, dev = locked(PIPELINE), locked(DEV)
    assert pipeline.items() <= dev.items()


def test_the_locks_meet_pyproject():
    versions = locked(DEV) | locked(SPARK)
    for name, requirement in declared().items():
        assert requirement.specifier.contains(versions[name], prereleases=True), f"{requirement}: run: make lock"


def test_every_dependency_has_its_floor_and_its_reason():
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \| (\S+) \| [^|]{5,} \|", page, re.MULTILINE))
    written = {canonicalize_name(Requirement(key).name): Requirement(key + floor) for key, floor in rows.items()}
    assert {name: r.specifier for name, r in written.items()} == {name: r.specifier for name, r in declared().items()}
    assert [str(r) for r in declared().values() if not re.search(r">=|==", str(r.specifier))] == []


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level packages that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]


def test_what_is_imported_is_declared():
    absent = {name: [name] for name in locked(SPARK)}  # half a gigabyte, which few have
    distributions = absent | packages_distributions()
    names = {name for folder in ("src", "stages") for path in files(".py", under=folder) for name in imported(path)}
    foreign = names - set(sys.stdlib_module_names) - {"trunkline"}
    undeclared = [name for name in foreign if not {canonicalize_name(d) for d in distributions[name]} & set(declared())]
    assert undeclared == []


def test_stages_leave_mlflow_hydra_and_processes_to_the_library():
    for path in files(".py", under="stages"):
        assert not {"mlflow", "hydra", "omegaconf", "subprocess"} & set(imported(path)), path.name


def test_imports_go_downwards():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_conf_does_not_read_the_environment():
    found = [path.name for path in files(".yaml", under="conf") if re.search(r"\$\{\s*(oc\.)?env", path.read_text())]
    assert found == [], "its value would be written to params.yaml, which is committed"


def test_the_pipeline_is_literal():
    # DVC resolves ${} before the compose stage has written params.yaml.
    lines = (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "${" in line and not line.lstrip().startswith("#")] == []


def test_no_file_names_a_machine_or_a_registry():
    homes = re.compile(rb"/(home|root|Users)/\w")
    registries = re.compile(
        rb"pypi\.org|pythonhosted\.org|extra-index-url|registry\.npmjs|anaconda\.org", re.IGNORECASE
    )
    own = [path for path in files() if path != Path(__file__)]
    assert [str(path.relative_to(ROOT)) for path in own if homes.search(path.read_bytes())] == []
    assert [str(path.relative_to(ROOT)) for path in own if registries.search(path.read_bytes())] == []


def test_pre_commit_fetches_nothing_and_runs_the_one_check():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    assert [(hook["entry"], hook["language"]) for hook in hooks["repos"][0]["hooks"]] == [("make check", "system")]


@pytest.mark.parametrize("red", ["none", "test", "test-rest", "test-spark", "newest"])
def test_continuous_integration_runs_every_suite_with_all_it_needs_and_tells_what_each_took(tmp_path, red):
    required = (
        "$TRUNKLINE_REQUIRE_BROWSER$TRUNKLINE_REQUIRE_REDIS$TRUNKLINE_REQUIRE_PROMETHEUS$TRUNKLINE_REQUIRE_VALIDATORS"
    )
    scripts = {
        ".ci/run": (ROOT / ".ci/run").read_text(encoding="utf-8"),
        ".ci/browser": "#!/bin/sh\necho browser >>calls\nexit 1\n",
        ".ci/redis": "#!/bin/sh\necho redis >>calls\nexit 1\n",
        ".ci/prometheus": "#!/bin/sh\necho prometheus >>calls\nexit 1\n",
        ".ci/buildah": "#!/bin/sh\necho buildah >>calls\nexit 1\n",
        ".ci/newest": f"#!/bin/sh\necho newest >>calls\n[ newest != {red} ]\n",
        "bin/make": f'#!/bin/sh\necho "$1 {required}" >>calls\n[ "$1" != {red} ]\n',
    }
    for name, text in scripts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    environ = os.environ | {"PATH": os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])}
    done = subprocess.run(["bash", tmp_path / ".ci/run"], env=environ, capture_output=True, text=True, check=False)
    calls = ["browser", "redis", "buildah", "prometheus", "test 1111", "test-rest 1111", "test-spark 1111", "newest"]
    assert (tmp_path / "calls").read_text().splitlines() == calls
    assert done.returncode == (red != "none")
    timed = r"make test \d+ s, make test-rest \d+ s, make test-spark \d+ s, \.ci/newest \d+ s"
    assert re.fullmatch(timed, done.stdout.splitlines()[-1])


def test_every_long_test_is_run_by_make_test_rest():
    listed = re.search(r"^LONG := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    mark = re.compile(r"^(pytestmark = .*|@)pytest\.mark\.(long|workflows)\b", re.MULTILINE)
    every = [path for path in files(".py", under="tests") if mark.search(path.read_text(encoding="utf-8"))]
    marked = [path.relative_to(ROOT) for path in every]
    assert len(marked) > len(listed)
    assert [path for path in marked if not any(path.is_relative_to(each) for each in listed)] == []


def test_the_license_and_the_version_are_one():
    import trunkline

    assert PROJECT["project"]["version"] == trunkline.__version__
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_what_documents_name_exists():
    for page in (page for page in files(".md") if page.name != "CHANGELOG.md"):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`trunkline((?:\.[a-z_]+)+)`", text):
            place = ROOT / "src/trunkline" / name[1:].replace(".", "/")
            assert place.is_dir() or place.with_suffix(".py").is_file(), f"{page.name}: trunkline{name}"
        for path in re.findall(r"\b(?:src/trunkline|stages|tests|conf|docs)/[\w./-]+\.(?:py|md|yaml)\b", text):
            assert (ROOT / path).is_file(), f"{page.name}: {path}"


def anchors(page: Path) -> set[str]:
    """Return the anchors that a forge gives the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    titles = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def test_links_between_documents_lead_somewhere():
    broken = []
    for page in files(".md"):
        text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        links = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text)
        for link, anchor in [*links, *((source, "") for source in re.findall(r"src=\"([^\"]+)\"", text))]:
            target = page.parent / link if link else page
            if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
                broken.append(f"{page.relative_to(ROOT)}: {link}#{anchor}")
    assert broken == []


def test_the_site_has_every_page_in_its_navigation():
    entries = re.findall(r'"([^"]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    pages = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"))]
    assert sorted(entries) == sorted([*pages, "docs/adr/README.md"])


def test_a_message_that_names_a_page_says_that_it_is_the_frameworks():
    """A project has docs/conf.md and the schemas, and no other page of docs/."""
    page = re.compile(r"docs/(?!conf\.md)[a-z-]+\.md")
    for path in files(".py", under="src/trunkline"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, _DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                for named in page.finditer(node.value):
                    assert (ROOT / named[0]).is_file(), f"{path}:{node.lineno}: there is no {named[0]}"
                    after = node.value[named.end() :]
                    assert after.startswith(" of the framework"), f"{path}:{node.lineno}: say of whom {named[0]} is"


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
