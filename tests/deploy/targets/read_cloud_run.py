"""Says what Google's published schema of Cloud Run has against a service: run where its client is installed."""

import json
import re
import sys
from pathlib import Path

import googleapiclient
import jsonschema
import yaml

DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache/documents/run.v1.json"


def strict(schema):
    """Return a schema of Google's discovery format as JSON Schema, in which unknown keys are refused."""
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kept = {key: schema[key] for key in ("type", "enum") if key in schema and schema["type"] != "any"}
    if "items" in schema:
        kept["items"] = strict(schema["items"])
    if schema.get("type") == "object":
        kept["properties"] = {name: strict(part) for name, part in schema.get("properties", {}).items()}
        kept["additionalProperties"] = (
            strict(schema["additionalProperties"]) if "additionalProperties" in schema else False
        )
    return kept


schemas = json.loads(DOCUMENT.read_text())["schemas"]
annotations = schemas["ObjectMeta"]["properties"]["annotations"]["description"]
known = set(re.findall(r"`((?:run|autoscaling)\.[\w./-]+)`", annotations))
whole = {"$ref": "#/$defs/Service", "$defs": {name: strict(schema) for name, schema in schemas.items()}}
service = yaml.safe_load(Path(sys.argv[1]).read_text())
complaints = [
    f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(whole).iter_errors(service)
]
given = service["spec"]["template"]["metadata"]["annotations"]
sys.stdout.write(json.dumps(complaints + sorted({*given} - known)))
