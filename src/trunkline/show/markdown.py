"""GitHub's Markdown, of texts of others too: they are written so that they stay text.

No markup, no mention, no link, no reference, and not the hidden marker by which a comment is found again.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

BUDGET = 6_000  # characters of a table
_ZERO = "\u200b"  # breaks a mention or a link without being seen


def text(value: str, most: int = 300) -> str:
    """Return someone's text as text: on one line, without markup, mentions, references and links."""
    kept = plain(value, most)
    kept = kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    kept = re.sub(r"([\\`*{}\[\]#|~$]|(?<!\w)_|_(?!\w))", r"\\\1", kept)  # within a word, _ is no markup
    kept = re.sub(r"(@|\\#)(?=\w)", rf"\1{_ZERO}", kept)
    return re.sub(r"(?i)(:(?=//)|www(?=\.)|gh-(?=\d))", rf"\1{_ZERO}", kept)


def code(value: str, most: int = 120) -> str:
    """Return someone's text as a code span, which a table can hold."""
    kept = plain(value, most).replace("`", "\u02cb").replace("<!--", f"<{_ZERO}!--").replace("|", "\\|")
    return f"`{kept}`" if kept.strip() else "` `"


def plain(value: str, most: int) -> str:
    """Return someone's text on one line, without what is not seen or turns the text around it; a long one is cut."""
    spaced = "".join(" " if letter.isspace() else letter for letter in value)
    kept = "".join(letter for letter in spaced if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co"))
    return kept if len(kept) <= most else f"{kept[: most - 1]}…"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table within the budget of a section; rows that do not fit are counted."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    size, hidden = sum(map(len, lines)), 0
    for row in rows:
        line = f"| {' | '.join(row)} |"
        if hidden or size + len(line) > BUDGET:
            hidden += 1
        else:
            lines.append(line)
            size += len(line) + 1
    more = f"\n\n…and {hidden} more." if hidden else ""
    return "\n".join(lines) + more
