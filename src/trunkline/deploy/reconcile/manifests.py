"""Manifests: a template of the repository, filled in with the version that an environment is to run. Pure."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trunkline.core.errors import UserError, one_line

# A manifest is no page: what is filled in are names and hashes, of a grammar without quotes and brackets.
_ENVIRONMENT = ImmutableSandboxedEnvironment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)
_ENVIRONMENT.globals.clear()  # Jinja2's own names, such as lipsum, are no values of a manifest


def manifests(templates: Mapping[str, str | None], values: Mapping[str, str]) -> dict[str, str]:
    """Return the filled-in templates by file name, without .j2; `values` are all that a template may name.

    Raises UserError for a template that the commit has not (None), one that cannot be filled in, or two of one name.
    """
    rendered: dict[str, str] = {}
    for path, text in templates.items():
        name = PurePosixPath(path).stem
        if text is None:
            raise UserError(f"conf/deploy: manifests: {path}: there is no such template on the trunk")
        if name in rendered:
            raise UserError(f"conf/deploy: manifests: {path}: another template of this environment gives {name} too")
        try:
            rendered[name] = _ENVIRONMENT.from_string(text).render(values)
        except TemplateSyntaxError as error:
            raise UserError(f"{path}:{error.lineno}: {error.message}; fix the template") from None
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            advice = f"it may use {', '.join(sorted(values))}"
            raise UserError(f"{path}: {one_line(error)}; {advice}") from None
    return rendered
