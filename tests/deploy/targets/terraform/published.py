"""Prints JSON schemas of the resources that some main.tf.json have, of the types that CDKTF publishes of providers.

    npm pack @cdktf/provider-aws @cdktf/provider-google @cdktf/provider-azurerm # and unpack each into FOLDER/NAME
    python published.py FOLDER main.tf.json… >schemas.json

These were generated of the providers' own schemas, which only Terraform could ask of them.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"export interface (\w+)( extends cdktf\.TerraformMetaArguments)? \{\n(.*?)\n\}", re.DOTALL)
FIELD = re.compile(
    r"resources/\w+#(\w+) [^}]*\}(?:(?!\*/).)*\*/\s*readonly \w+(\??): (.*?);\n(?=    /\*\*|\Z)", re.DOTALL
)
EXPRESSION = {"type": "string", "pattern": r"^\$\{"}


def value(kind: str, blocks: dict[str, str]) -> dict[str, Any]:
    """Return the schema of a type of TypeScript; an expression may stand for each."""
    kind = kind.replace(" | cdktf.IResolvable", "").strip()
    if kind == "string":
        return {"type": ["string", "number", "boolean"]}
    if kind in ("number", "boolean"):
        return {"anyOf": [{"type": kind}, EXPRESSION]}
    if kind.startswith("{"):
        return {"anyOf": [{"type": "object"}, EXPRESSION]}
    if kind.endswith("[]"):
        item = value(kind.removesuffix("[]"), blocks)
        one = [item] if kind.removesuffix("[]") in blocks else []  # a block that stands once needs no list
        return {"anyOf": [*one, {"type": "array", "items": item}, EXPRESSION]}
    return schema(kind, blocks)


def schema(name: str, blocks: dict[str, str]) -> dict[str, Any]:
    """Return the schema of a block, which has no other keys than these."""
    fields = FIELD.findall(blocks[name] + "\n")
    content = {key: value(kind, blocks) for key, _, kind in fields}
    required = [key for key, optional, _ in fields if not optional]
    return {"type": "object", "additionalProperties": False, "properties": content, "required": required}


def resource(folder: Path, kind: str) -> dict[str, Any]:
    """Return the schema of a resource, such as aws_s3_bucket."""
    provider, _, name = kind.partition("_")
    texts = sorted((folder / provider / "package/lib" / name.replace("_", "-")).rglob("*.d.ts"))
    read = BLOCK.findall("\n".join(path.read_text() for path in texts))
    [top] = [name for name, whole, _ in read if whole]
    return schema(top, {name: text for name, _, text in read})


def main(folder: Path, files: list[Path]) -> None:
    """Print the schemas of all resources of some files."""
    kinds = sorted({kind for file in files for kind in json.loads(file.read_text())["resource"]})
    lines = (f"{json.dumps(kind)}: {json.dumps(resource(folder, kind), separators=(',', ':'))}" for kind in kinds)
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
