"""The pull request of an erasure: which sources lose the person, and what that asks of versions trained on them. Pure.

Nobody is named in it but by the keyed digest, and no value of a row is there.
"""

from collections.abc import Sequence

from trunkline.erasure.place import Place
from trunkline.erasure.subject import Subject
from trunkline.show.markdown import code, table, text


def title(subject: Subject) -> str:
    """Return the title of the pull request, and the subject of its commit."""
    return f"data: erase {subject.name}"


def body(subject: Subject, places: Sequence[Place]) -> str:
    """Return the text of the pull request, in Markdown: of the places, those that a reviewer decides on."""
    sources = _table(places, "source", "nothing: their owner has erased them already")
    versions = _table(places, "version", "none")
    return (
        f"{code(subject.name)} is erased from the sources: files are filtered, others repinned. The digest is keyed, "
        "and tells nobody who. The pipeline makes the rest anew; the gates judge the model without the person.\n\n"
        f"### Sources\n\n{sources}\n\n### Versions that were trained on them\n\n{versions}\n\n"
        "After the merge, and `dvc repro`: run `trunkline erase` again, which deletes what the trunk needs no more, "
        "and `trunkline erase --check`, which lists what is still held and until when.\n"
    )


def _table(places: Sequence[Place], kind: str, otherwise: str) -> str:
    rows = [
        (code(each.name), "" if each.rows is None else f"{each.rows:,}", text(f"{each.state}: {each.then}"))
        for each in places
        if each.kind == kind
    ]
    return table(("name", "rows", "what becomes of it"), rows) if rows else otherwise
