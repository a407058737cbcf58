"""What conf/data may say of an Iceberg catalog, property by property.

The library imports and runs what some other properties name, such as py-io-impl; those are the machine's to set, by
PYICEBERG_CATALOG__<NAME>__… or ~/.pyiceberg.yaml.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from trunkline.conf.data import databases
from trunkline.core.addresses import holds_a_secret, host_of, is_secret, normal
from trunkline.core.errors import nearest

CATALOGS = ("dynamodb", "glue", "hive", "rest", "sql")

_WORD, _NUMBER, _FLAG, _ANY = r"[\w.-]+", r"\d+(\.\d+)?", r"(?i:true|false)", r"[^\x00-\x20\x7f]+"
# Every property that there may be, and what its value looks like.
PROPERTIES = {
    "type": _WORD,
    "uri": _ANY,
    "warehouse": _ANY,
    "prefix": r"[\w./=-]+",
    "s3.endpoint": _ANY,
    "s3.region": _WORD,
    "s3.force-virtual-addressing": _FLAG,
    "s3.connect-timeout": _NUMBER,
    "s3.request-timeout": _NUMBER,
    "glue.region": _WORD,
    "rest.sigv4-enabled": _FLAG,
    "rest.signing-region": _WORD,
    "rest.signing-name": _WORD,
}
_SERVERS = ("http", "https", "thrift")
_WAREHOUSES = ("s3", "s3a", "gs", "abfs", "abfss", "hdfs", "oss", "arn")


def verify(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the properties in their normal form.

    Raises ValueError for a property that there may not be, a secret, or a value that leads elsewhere than it may.
    """
    return {key: _value(key, value) for key, value in properties.items()}


def hosts(properties: Mapping[str, str]) -> tuple[str, ...]:
    """Return the hosts that a catalog is asked at by these properties."""
    addresses = [*properties.get("uri", "").split(","), properties.get("s3.endpoint", "")]
    return tuple(filter(None, map(host_of, addresses)))


def _value(key: str, value: str) -> str:
    if key not in PROPERTIES and not is_secret(key):
        raise ValueError(f"properties.{key[:60]}: is not for conf/data{nearest(key, PROPERTIES)}")
    if is_secret(key) or holds_a_secret(value):
        raise ValueError(
            f"properties.{key}: holds a secret, which git would keep for ever; see docs/ingest.md of the framework"
        )
    if key == "type" and value not in CATALOGS:
        raise ValueError(f"properties.type: '{value[:60]}' is no kind of catalog{nearest(value, CATALOGS)}")
    value = normal(value)
    if not re.fullmatch(PROPERTIES[key], value):
        raise ValueError(
            f"properties.{key}: does not take '{value[:60]}'; docs/ingest.md of the framework says what it is"
        )
    try:
        _lead(key, value)
    except ValueError as error:
        raise ValueError(f"properties.{key}: {error}") from None
    return value


def _lead(key: str, value: str) -> None:
    """Raise ValueError for an address that leads elsewhere than it may."""
    scheme, separator, _ = value.partition("://")
    if key == "uri" and (not separator or scheme not in _SERVERS):
        databases.database(value, databases.WRITABLE)
    elif key == "s3.endpoint" and scheme not in ("http", "https"):
        raise ValueError("is not an address such as https://host")
    elif key == "warehouse":
        scheme = urlsplit(value).scheme
        if scheme not in ("", *_WAREHOUSES):
            raise ValueError(f"'{scheme[:60]}' is no store of tables{nearest(scheme, _WAREHOUSES)}")
        if not scheme and (value.startswith(("/", "~", "\\")) or ".." in value.split("/")):
            raise ValueError("is neither a name, nor an address such as s3://bucket/warehouse")
