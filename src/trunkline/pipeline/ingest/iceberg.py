"""Opens an Iceberg table such that a catalog, and whoever wrote the table, can name no code.

pyiceberg takes properties from a REST catalog's answers and from a table's metadata as it does the machine's own: it
imports and calls what some of them name, such as py-io-impl. What is declared and the machine's own come first here;
of what is sent, where the table is and the keys that a catalog lends for it are taken, and nothing else.
"""

import re
from collections.abc import Mapping
from typing import Any

# Every property that may be sent.
_SENT = re.compile(
    r"prefix|warehouse|namespace-separator"
    r"|(s3|client)\.(region|access-key-id|secret-access-key|session-token)|s3\.(force-virtual-addressing|path-style-access)"
    r"|gcs\.(project-id|oauth2\.token(-expires-at)?)|adls\.(account-name|sas-token(\.[\w.-]+)?)"
)


def load(catalog: str, properties: Mapping[str, str], table: str) -> Any:
    """Return a table of a catalog, which pyiceberg opens; raises what that raises."""
    from pyiceberg import catalog as catalogs

    catalogs.AVAILABLE_CATALOGS[catalogs.CatalogType.REST] = _rest
    opened = catalogs.load_catalog(catalog, **properties)
    files = opened._load_file_io  # which is asked to open them by what the table says of itself

    def declared_files(properties: Mapping[str, Any] = {}, location: str | None = None) -> Any:
        return files(_harmless(properties), location)

    opened._load_file_io = declared_files  # type: ignore[method-assign]
    return opened.load_table(table)


def _rest(name: str, properties: Mapping[str, Any]) -> Any:
    """Return a REST catalog whose answers do not replace what is declared."""
    from pyiceberg.catalog.rest import RestCatalog

    class Rest(RestCatalog):
        def _fetch_config(self) -> None:
            declared = dict(self.properties)
            super()._fetch_config()
            self.properties = _harmless(self.properties) | declared
            self.uri = declared["uri"]

    return Rest(name, **properties)


def _harmless(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sent.items() if isinstance(value, str) and _SENT.fullmatch(key)}
