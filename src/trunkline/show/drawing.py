"""The one frame of pictures: an SVG that depends on no machine's fonts, settings or clock."""

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def svg(
    size: tuple[float, float],
    fill: Callable[[Any], None],
    *,
    padding: tuple[float, float] | None = None,
    settings: Mapping[str, Any] | None = None,
    background: str = "white",
) -> str:
    """Return an SVG of what `fill` draws into an empty matplotlib figure; equal calls give equal bytes.

    `size` is in inches, as is `padding`: the room around each part of the figure, across and down. `settings` are
    matplotlib's. The lines of the text have no trailing blanks.
    """
    import matplotlib as mpl  # noqa: PLC0415  half a second, and most who import this module draw nothing
    from matplotlib.figure import Figure  # noqa: PLC0415

    fixed: dict[Any, Any] = {"svg.hashsalt": "trunkline", "svg.fonttype": "path", "text.parse_math": False}
    if padding:
        fixed["figure.constrained_layout.w_pad"], fixed["figure.constrained_layout.h_pad"] = padding
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as a box
        mpl.rcdefaults()
        mpl.rcParams.update(fixed | dict(settings or {}))
        figure = Figure(figsize=size, layout="constrained", facecolor=background)
        fill(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, facecolor=background)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
