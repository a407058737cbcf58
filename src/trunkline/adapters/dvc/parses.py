"""Lets DVC parse a text once: by itself it parses dvc.lock for each target that it is given and stage that it runs.

It does so in Python; with a lock of 100 kB that was most of a minute of one `trunkline ci reproduce`. What is written
has the bytes that DVC's own dumper gives: it is asked for each stage by itself, and for those only that have changed.
"""

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trunkline.adapters.dvc import private

_MOST = 256  # texts, each of them of one file or of one stage


class _Kept:
    """What DVC has parsed or dumped lately."""

    def __init__(self, parse: Any, dump: Any) -> None:
        self._parse, self._dump = parse, dump
        self._contents: dict[str, bytes] = {}
        self._texts: dict[bytes, str] = {}

    def parse(self, text: str, path: Any, typ: str = "safe") -> Any:
        """Return the content of a text; dvc.lock has no comments, which `typ="rt"` would keep for the next dump."""
        if typ != "safe" and not str(path).endswith("dvc.lock"):
            return self._parse(text, path, typ)
        if text not in self._contents:
            _keep(self._contents, text, pickle.dumps(self._parse(text, path)))
        return pickle.loads(self._contents[text])  # noqa: S301  of a line above

    def dump(self, data: Any, stream: Any) -> None:
        """Write the content of dvc.lock stage by stage, and anything else as DVC does."""
        if list(data) != ["schema", "stages"]:
            self._dump(data, stream)
            return
        stages = [self._text({"stages": {name: entry}}).partition("\n")[2] for name, entry in data["stages"].items()]
        text = "".join([self._text({"schema": data["schema"]}), "stages:\n" if stages else "stages: {}\n", *stages])
        _keep(self._contents, text, pickle.dumps(data))
        stream.write(text)

    def _text(self, data: dict[str, Any]) -> str:
        key = pickle.dumps(data)
        if key not in self._texts:
            stream = io.StringIO()
            self._dump(data, stream)
            _keep(self._texts, key, stream.getvalue())
        return self._texts[key]


def _keep(kept: dict[Any, Any], key: object, value: object) -> None:
    if len(kept) >= _MOST:
        del kept[next(iter(kept))]
    kept[key] = value


@contextmanager
def kept_parses() -> Iterator[None]:
    """Keep what DVC parses and dumps in the block; in a block inside another one, all is kept for both."""
    parse, dump = private.yaml_functions()
    if isinstance(getattr(parse, "__self__", None), _Kept):
        yield
        return
    kept = _Kept(parse, dump)
    with private.yaml_by(kept.parse, kept.dump):
        yield
