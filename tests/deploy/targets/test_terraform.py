"""Files of Terraform that checkov and the providers' published types accept, until a mistake is planted."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, ValidationError

from tests.deploy.targets import validators
from tests.deploy.targets.projects import image, project
from trunkline.cli import trunkline

IMAGES = {"server": image("server"), "reconciler": image("trunkline")}
OWN = {"bucket": "flights5f", "alerts": "on-call@example.org"}
CLOUDS: dict[str, dict[str, Any]] = {
    "aws": {"region": "eu-central-1", "vpc": "vpc-0a", "subnets": ["subnet-0a", "subnet-0b"], "clients": ["sg-0c"]},
    "google": {"project": "flights-5f", "region": "europe-west3", "clients": ["group:shop@example.org"]},
    "azure": {"subscription": "0" * 36, "region": "westeurope", "registry": "flights5f", "vault": "flights5f"},
}
SERVING = {
    "serving__authentication": {"keys": "secrets/keys.json"},
    "serving__log": {"to": "s3://flights5f/log", "key": "LOG_KEY"},
    "serving__online": {"store": "redis://10.0.0.3:6379/0"},
}
DECLINED = {  # checks of checkov that are not met, and why
    "CKV_AWS_18": "who reads the bucket is in CloudTrail, if the account has it",
    "CKV_AWS_144": "a second region is a decision that nobody has declared",
    "CKV2_AWS_57": "a key of git or of a log is replaced by a person, not by AWS",
    "CKV2_AWS_62": "nothing listens to what happens in the bucket",
    "CKV_GCP_62": "who reads the bucket is in Cloud Audit Logs, if the project has it",
    "CKV_GCP_84": "Google's own keys",
    "CKV_AZURE_33": "there are no queues",
    "CKV_AZURE_59": "who has a role reaches it from where they work: no network is declared",
    "CKV_AZURE_109": "as above",
    "CKV_AZURE_139": "as above",
    "CKV_AZURE_189": "as above",
    "CKV2_AZURE_32": "as above",
    "CKV2_AZURE_33": "as above",
    "CKV_AZURE_206": "three zones; a second region is a decision that nobody has declared",
    "CKV_AZURE_164": "a registry of the tier Premium",
    "CKV_AZURE_165": "as above",
    "CKV_AZURE_166": "as above",
    "CKV_AZURE_167": "as above",
    "CKV_AZURE_233": "as above",
    "CKV_AZURE_237": "as above",
    "CKV2_AZURE_1": "Azure's own keys",
    "CKV2_AZURE_21": "who reads the container is in the account's diagnostic settings, if it has any",
}
PLANTED = {  # a mistake, and the check that refuses it
    "aws": [
        ('"block_public_policy": true', '"block_public_policy": false', "CKV_AWS_54"),
        ('"s3:GetObject",\n              "s3:PutObject",\n              "s3:DeleteObject"', '"s3:*"', "CKV_AWS_111"),
        ('"kms:Decrypt"\n            ],\n            "resources": [\n              "${aws_kms_key.own.arn}"',
         '"*"\n            ],\n            "resources": [\n              "*"', "CKV_AWS_1"),
        ('"image_tag_mutability": "IMMUTABLE"', '"image_tag_mutability": "MUTABLE"', "CKV_AWS_51"),
    ],
    "google": [
        ('"public_access_prevention": "enforced"', '"public_access_prevention": "inherited"', "CKV_GCP_114"),
        ('"uniform_bucket_level_access": true', '"uniform_bucket_level_access": false', "CKV_GCP_29"),
    ],
    "azure": [
        ('"container_access_type": "private"', '"container_access_type": "blob"', "CKV_AZURE_34"),
        ('"admin_enabled": false', '"admin_enabled": true', "CKV_AZURE_137"),
    ],
}  # fmt: skip


def declared(**changes: Any) -> dict[str, Any]:
    return (
        SERVING | {"deploy__targets__terraform": {name: OWN | own | IMAGES for name, own in CLOUDS.items()}} | changes
    )


def render(root: Path, *arguments: str) -> Path:
    out = root / "deploy"
    done = CliRunner().invoke(trunkline, ["render", "terraform", "--project", str(root), "-o", str(out), *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    return render(project(tmp_path_factory.mktemp("terraform"), **declared()))


def test_checkov_refuses_nothing_but_what_is_declined_until_mistakes_are_planted(rendered, tmp_path):
    for cloud, mistakes in PLANTED.items():
        text = (rendered / cloud / "main.tf.json").read_text()
        for name in ("good", "bad"):
            (tmp_path / cloud / name).mkdir(parents=True)
        (tmp_path / cloud / "good/main.tf.json").write_text(text)
        for before, after, _ in mistakes:
            assert before in text
            text = text.replace(before, after)
        (tmp_path / cloud / "bad/main.tf.json").write_text(text)
    command = [validators.environment("checkov") / "bin/checkov", "-d", tmp_path, "--framework", "terraform_json"]
    done = subprocess.run(
        [*command, "--skip-download", "-o", "json"], capture_output=True, text=True, check=False, timeout=300
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    refused: dict[tuple[str, ...], set[str]] = {}
    for each in report["results"]["failed_checks"]:
        refused.setdefault(Path(each["file_path"]).parts[1:3], set()).add(each["check_id"])
    assert refused["aws", "good"] | refused["google", "good"] | refused["azure", "good"] == DECLINED.keys()
    for cloud, mistakes in PLANTED.items():
        assert {check for _, _, check in mistakes} <= refused[cloud, "bad"] - refused[cloud, "good"]


def complaints(content: dict[str, Any]) -> list[str]:
    """Return what the published types of the providers have against it."""
    schemas = json.loads(Path(__file__).with_name("terraform").joinpath("schemas.json").read_text())
    return [
        message
        for kind, resources in content["resource"].items()
        for own in resources.values()
        for error in Draft202012Validator(schemas[kind]).iter_errors(
            {key: value for key, value in own.items() if key != "depends_on"}
        )
        for message in _deepest(error)
    ]


def _deepest(error: ValidationError) -> Iterator[str]:
    if not error.context:
        yield error.message
    for each in error.context:
        yield from _deepest(each)


def test_the_published_types_of_the_providers_accept_it_until_mistakes_are_planted(rendered):
    for cloud in CLOUDS:
        assert complaints(json.loads((rendered / cloud / "main.tf.json").read_text())) == []
    text = (rendered / "aws/main.tf.json").read_text()
    wrong = text.replace('"desired_count": 2', '"desired_count": "two"').replace('"subnets"', '"subnet"')
    assert {"'two' is not of type 'number'", "'subnets' is a required property"} <= set(complaints(json.loads(wrong)))


@pytest.mark.parametrize("images", [IMAGES, {}])
def test_what_is_referred_to_is_there(tmp_path, images):
    clouds = {name: OWN | own | images for name, own in CLOUDS.items()}
    out = render(project(tmp_path, **declared(deploy__targets__terraform=clouds)))
    for path in out.rglob("main.tf.json"):
        content = json.loads(path.read_text())
        there = {f"{kind}.{name}" for kind, own in content["resource"].items() for name in own}
        there |= {f"data.{kind}.{name}" for kind, own in content.get("data", {}).items() for name in own}
        there |= {f"local.{name}" for name in content.get("locals", {})}
        text = path.read_text()
        named = set(re.findall(r"\b((?:data\.)?(?:aws|google|azurerm)_\w+\.\w+|local\.\w+)\b", text))
        assert named - {"google_monitoring.googleapis"} <= there, path
        assert ("image" in text.replace("images", "")) == bool(images) or path.parent.name == "aws"


def test_files_that_are_secret_are_written_where_they_are_read(rendered, tmp_path):
    prepare, reconcile, server = json.loads((rendered / "aws/main.tf.json").read_text())["locals"]["containers"]
    folders = {each["sourceVolume"]: each["containerPath"] for each in prepare["mountPoints"]}
    assert {each["sourceVolume"] for each in reconcile["mountPoints"]} == {"clone", "store", "tmp", "git"}
    assert {each["sourceVolume"] for each in server["mountPoints"]} == {"store", "tmp", "secrets"}
    for folder in folders.values():
        (tmp_path / folder[1:]).mkdir(parents=True)
    program = re.sub(r"(?<=[ >])/(?=\w)", f"{tmp_path}/", prepare["command"][0]).replace("chown -R", ": ")
    variables = {each["name"]: each["name"].lower() for each in prepare["secrets"]}
    subprocess.run(["sh", "-ec", program], env=variables, check=True)
    assert (tmp_path / "srv/secrets/keys.json").read_text() == "file_secrets_keys_json\n"
    assert (tmp_path / "secrets/git/key").stat().st_mode & 0o777 == 0o400
    assert subprocess.run(["sh", "-n", "-c", reconcile["command"][0]], check=False).returncode == 0
    compile(server["healthCheck"]["command"][-1], "probe", "exec")


def test_no_secret_and_no_version_is_in_it_and_it_is_formatted(rendered):
    for path in rendered.rglob("main.tf.json"):
        content = json.loads(path.read_text())
        assert path.read_text() == json.dumps(content, indent=2) + "\n"
        assert not content["resource"].keys() & {
            "aws_secretsmanager_secret_version",
            "google_secret_manager_secret_version",
        }


def test_the_same_declaration_gives_the_same_bytes_and_a_cloud_that_is_gone_is_named(tmp_path):
    render(project(tmp_path, **declared()))
    render(tmp_path, "--check")
    changed = declared()
    changed["deploy__targets__terraform"] = {"aws": changed["deploy__targets__terraform"]["aws"]}
    project(tmp_path, **changed)
    command = ["render", "terraform", "--project", str(tmp_path), "-o", str(tmp_path / "deploy"), "--check"]
    done = CliRunner().invoke(trunkline, command)
    assert done.exit_code == 1
    assert "google/main.tf.json: conf/deploy declares it no more; remove it" in done.output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deploy__targets__terraform": None}, "deploy.targets.terraform: is missing; declare it in conf/deploy"),
        ({"deploy__targets__terraform__aws__environment": "prod"}, "'prod' is no environment"),
        ({"deploy__targets__terraform__aws__server": None}, "declare both, or neither"),
        ({"deploy__targets__terraform__aws__memory": 1024}, "memory: 1024 is not sold with cpu: 1024"),
        ({"deploy__targets__terraform__aws__clients": ["0.0.0.0/0"]}, "terraform.aws.clients"),
        ({"deploy__targets__terraform__google__clients": ["allUsers"]}, "terraform.google.clients"),
        ({"serving__authentication": None}, "authentication: is missing"),
        ({"serving__log": {"to": "log"}}, "log: is a place in a container, which is gone with it"),
        ({"serving__tls": {"certificate": "tls/a.crt", "key": "tls/a.key"}}, "google ends TLS itself"),
        ({"serving__authentication__keys": "git/keys.json"}, "two folders have one name"),
    ],
)
def test_what_would_not_run_is_refused(tmp_path, changes, message):
    with pytest.raises(Exception, match=re.escape(message)):
        render(project(tmp_path, **declared(**changes)))
