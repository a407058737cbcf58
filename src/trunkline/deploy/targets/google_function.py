"""The archive of a function of Google Cloud: that of AWS Lambda, with what the functions framework imports."""

from importlib import resources
from pathlib import Path, PurePosixPath

from trunkline.deploy.targets import aws_lambda

LIMIT = 524_288_000  # bytes that Google unpacks at most
HANDLER = "handler"


def content(bundle: Path, packages: Path, project: Path) -> dict[PurePosixPath, Path]:
    """Return the files of the archive by their names in it; raises what aws_lambda.content raises."""
    listed = aws_lambda.content(bundle, packages, project, "Google", LIMIT)
    main = Path(str(resources.files(__package__).joinpath("google/main.py")))
    return dict(sorted({**listed, PurePosixPath("main.py"): main}.items()))
