"""How long each stage took when it last ran on this machine."""

from pathlib import Path

from trunkline.core import paths


def read(root: Path) -> dict[str, float]:
    """Return the seconds of each stage that has run here, by name; what cannot be read is left out."""
    seconds = {}
    for path in sorted((paths.home(root) / paths.DURATIONS).glob("*")):
        try:
            seconds[path.name] = float(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return seconds
