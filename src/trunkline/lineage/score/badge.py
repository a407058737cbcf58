"""The badge of a score: an image of a line of text, which needs no server and no fonts of its own. Pure."""

from trunkline.lineage.score.evaluate import Score

LABEL = "ML Test Score"
COLOURS = {1: "#9f9f9f", 2: "#c96a12", 3: "#9a7b00", 4: "#4c7f0e", 5: "#1f6f43"}  # of a level; white is legible on each
_MARGIN, _HEIGHT = 8, 20
_NARROW, _LETTER, _THIN = " .,filt", 7.2, 3.5  # widths of letters of 11 pixels


def svg(score: Score) -> str:
    """Return the image, 20 pixels high."""
    said = f"{score.total:g} of 7, level {score.level.number}"
    left, right = _width(LABEL), _width(said)

    def written(text: str, start: int, width: int) -> str:
        return (
            f'<text x="{start + width / 2:g}" y="14" text-anchor="middle" textLength="{width - 2 * _MARGIN}" '
            f'lengthAdjust="spacingAndGlyphs">{text}</text>'
        )

    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" role="img" '
        f'aria-label="{LABEL}: {said}"><title>{LABEL}: {said}</title>\n'
        f'<clipPath id="r"><rect width="{left + right}" height="{_HEIGHT}" rx="3"/></clipPath>\n'
        f'<g clip-path="url(#r)"><rect width="{left}" height="{_HEIGHT}" fill="#444"/>'
        f'<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{COLOURS[score.level.number]}"/></g>\n'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{written(LABEL, 0, left)}{written(said, left, right)}</g>\n</svg>\n"
    )


def _width(text: str) -> int:
    return round(sum(_THIN if letter in _NARROW else _LETTER for letter in text) + 2 * _MARGIN)
