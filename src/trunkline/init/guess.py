"""A guess: what was taken for granted of a table, why, and in which key of which group of conf/ a person changes it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Guess:
    """What was guessed and why; `group` is of conf/, `key` is the key in that group's file."""

    what: str
    why: str
    group: str
    key: tuple[str, ...]
