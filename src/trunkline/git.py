"""The one module that calls git, so that everything else can be run and tested without a repository."""

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trunkline.core.errors import OutsideError, UserError

# What decides a result: the declaration, the code, and how they are run.
INPUTS = ("conf", "params.yaml", "src", "stages", "dvc.yaml", "locks")

# The tokens that git may push with, and what names the only server that each is for.
TOKENS = {
    "GITHUB_TOKEN": ("GITHUB_SERVER_URL", "https://github.com"),
    "GITLAB_TOKEN": ("CI_SERVER_URL", "https://gitlab.com"),
}
_USER = "x-access-token"  # both forges take any name beside a token

# pushed: the branch has the commit now. same: it had it before. moved: it has another one, or is gone.
Branch = Literal["pushed", "same", "moved"]


@dataclass(frozen=True)
class Commit:
    """A commit: its hash, in short too, the day (YYYY-MM-DD) on which it was made, and its subject."""

    hash: str
    short: str
    date: str
    subject: str


def head(folder: Path) -> str | None:
    """Return the commit that is checked out in a folder; None outside a repository and before a commit."""
    return _git(folder, "rev-parse", "--verify", "HEAD")


def is_dirty(folder: Path, paths: tuple[str, ...] = INPUTS) -> bool:
    """Tell whether files under `paths`, relative to the folder, differ from the commit or are new to git."""
    return bool(_git(folder, "status", "--porcelain", "--untracked-files=normal", "--", *paths))


def changed(folder: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the files among the paths that differ from the commit or are new, sorted, relative to the folder."""
    words = ("--no-renames", "--relative", "-z", "HEAD", "--", *paths)
    tracked = _bytes(folder, "diff", "--name-only", *words).decode(errors="surrogateescape")
    listed = ("--others", "--exclude-standard", "-z", "--", *paths)
    new = _bytes(folder, "ls-files", *listed).decode(errors="surrogateescape")
    return tuple(sorted({*filter(None, (tracked + new).split("\0"))}))


def commit(folder: Path, paths: Sequence[str], message: str) -> None:
    """Commit files, and nothing else, as the repository's user, or as trunkline where it names none."""
    author = (
        ()
        if _git(folder, "config", "--get", "user.email")
        else ("-c", "user.name=trunkline", "-c", "user.email=trunkline@localhost")
    )
    _bytes(folder, "add", "--", *paths)
    _bytes(folder, *author, "commit", "--quiet", "--no-verify", "--message", message, "--", *paths)


def push(folder: Path, branch: str, environ: Mapping[str, str], *, create: bool = False) -> Branch:
    """Push HEAD to a branch of origin that has no commit which HEAD does not have; one that is gone stays gone.

    With `create`, one that is not there is made.

    A token of the environment is asked for by git itself, so that it stands in no command line and no file, and goes to
    its own server only. Raises UserError for a name that no branch can have and for a token that is none, OutsideError
    for everything else that the remote answers.
    """
    ref = f"refs/heads/{branch}"
    if _git(folder, "check-ref-format", ref) is None:
        raise UserError(f"--push: no branch can be named '{branch}'; name the branch of origin that holds the change")
    listed = _remote(folder, environ, "ls-remote", "origin", ref)
    rows = (line.split("\t") for line in listed.stdout.splitlines())
    tip = next((commit for commit, name in rows if name == ref), None)
    if listed.returncode == 0 and (tip == head(folder) or (tip is None and not create)):
        return "same" if tip else "moved"
    done = listed if listed.returncode else _remote(folder, environ, "push", "--porcelain", "origin", f"HEAD:{ref}")
    if done.returncode and f"{ref}\t[rejected]" in done.stdout:
        return "moved"
    if done.returncode:
        raise OutsideError(f"git push origin {branch} failed: {' '.join((done.stdout + done.stderr).split())}")
    return "pushed"


def _remote(folder: Path, environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    given = [word for setting in _credentials(environ) for word in ("-c", setting)]
    command = ("git", "-C", str(folder), *given, *arguments)
    return subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)  # noqa: S603  no shell


def _credentials(environ: Mapping[str, str]) -> Iterator[str]:
    """Return settings that have git ask the environment for a token, in place of what else it would ask."""
    for name, (variable, address) in TOKENS.items():
        token = environ.get(name)
        if not token:
            continue
        if not token.isprintable() or " " in token:
            raise UserError(f"{name}: a token has no spaces and no line breaks; set it to the token alone")
        key = f"credential.{environ.get(variable) or address}.helper"
        yield f"{key}="
        yield f'{key}=!f() {{ test "$1" = get && printf \'username={_USER}\\npassword=%s\\n\' "${name}"; }}; f'


def annotated_tag(folder: Path, name: str) -> str | None:
    """Return the commit of an annotated tag; None if there is no such tag, or a lightweight one, which can be moved."""
    kind = _git(folder, "cat-file", "-t", f"refs/tags/{name}")
    return _git(folder, "rev-parse", "--verify", f"refs/tags/{name}^{{commit}}") if kind == "tag" else None


def file_at(folder: Path, commit: str, path: Path) -> str | None:
    """Return the text of a file of a commit; None if the commit has no such file."""
    return _git(folder, "show", f"{commit}:./{path.as_posix()}")


def merge_base(folder: Path, ref: str) -> str:
    """Return the commit where the checked-out branch left `ref`, which may be a branch of the remote origin.

    Raises UserError that says what to fetch: for a ref that is not here, or a clone whose history ends too early.
    """
    found = tip(folder, ref)
    if found is None:
        raise UserError(f"--base: there is no '{ref}' here; run: git fetch origin {ref}:refs/remotes/origin/{ref}")
    base = _git(folder, "merge-base", found, "HEAD")
    if base:
        return base
    if is_shallow(folder):
        raise UserError(
            f"--base: this clone is shallow: its history ends before it meets {ref}; run: git fetch --unshallow"
        )
    raise UserError(f"--base: {ref} and this branch have no commit in common; name the branch that this one left")


def tip(folder: Path, ref: str) -> str | None:
    """Return the commit of a ref, or of that branch of the remote origin; None if there is neither."""
    return next(filter(None, (resolve(folder, name) for name in (ref, f"origin/{ref}"))), None)


def behind(folder: Path, ref: str) -> int:
    """Return how many commits of a ref, or of that branch of origin, the checked-out one does not have."""
    found = tip(folder, ref)
    return int((found and _git(folder, "rev-list", "--count", f"HEAD..{found}")) or 0)


def last_commit(folder: Path, path: Path) -> str | None:
    """Return the last commit that changed a file."""
    return _git(folder, "log", "-1", "--format=%H", "--", path.as_posix()) or None


@dataclass(frozen=True)
class Since:
    """What has changed in the working tree since a commit; without a commit, nothing is known."""

    folder: Path
    commit: str | None

    def text(self, path: str) -> str | None:
        """Return the text of a file as it was; None if there was none."""
        return self.commit and file_at(self.folder, self.commit, Path(path))

    def current(self, path: str) -> str | None:
        """Return the text of a file as it is; None if there is none."""
        place = self.folder / path
        return place.read_text(encoding="utf-8", errors="replace") if place.is_file() else None

    def changed(self, folder: str) -> list[str]:
        """Return the files that have changed since, or are new, in a folder, or the file itself."""
        if self.commit is None:
            return []
        tracked = _git(self.folder, "diff", "--name-only", "--relative", self.commit, "--", folder) or ""
        new = _git(self.folder, "ls-files", "--others", "--exclude-standard", "--", folder) or ""
        return sorted({*tracked.splitlines(), *new.splitlines()})


def changed_between(folder: Path, base: str, head: str) -> tuple[str, ...]:
    """Return the files that differ between two commits, relative to the folder and only those in it, sorted."""
    told = _bytes(folder, "diff", "--name-only", "--no-renames", "--relative", "-z", base, head)
    return tuple(sorted(filter(None, told.decode(errors="surrogateescape").split("\0"))))


def prefix(folder: Path) -> str:
    """Return where a folder is in its repository; empty for its root."""
    return _git(folder, "rev-parse", "--show-prefix") or ""


def resolve(folder: Path, name: str) -> str | None:
    """Return the commit that a name stands for; None if it stands for none."""
    return _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")


def is_repository(folder: Path) -> bool:
    """Tell whether a folder is in a repository that git can read."""
    return _git(folder, "rev-parse", "--git-dir") is not None


def is_shallow(folder: Path) -> bool:
    """Tell whether the clone holds the end of a longer history only."""
    return _git(folder, "rev-parse", "--is-shallow-repository") == "true"


def trunk(folder: Path, commit: str, paths: Iterable[Path], limit: int) -> tuple[Commit, ...]:
    """Return the newest commits of a commit's first-parent line that changed one of the paths, newest first.

    A merge counts by what it brings to the line. Raises OutsideError where git cannot read its own history.
    """
    chosen = ("--first-parent", f"--max-count={limit}", "--no-show-signature", "--encoding=UTF-8")
    fields = ("-z", "--format=%H%x00%h%x00%cs%x00%s")
    told = _bytes(folder, "log", *chosen, *fields, commit, "--", *(path.as_posix() for path in paths))
    words = told.decode(errors="replace").split("\0")
    return tuple(Commit(*words[place : place + 4]) for place in range(0, len(words) - 1, 4))


def annotated_tags(folder: Path) -> tuple[tuple[str, str], ...]:
    """Return the name and the commit of every annotated tag; a lightweight one can be moved, and counts for nothing."""
    fields = "%(objecttype) %(*objecttype) %(*objectname) %(refname:strip=2)"
    told = _bytes(folder, "for-each-ref", f"--format={fields}", "refs/tags").decode(errors="replace")
    rows = (line.split(" ", 3) for line in told.split("\n") if line)
    return tuple((name, commit) for kind, of, commit, name in rows if (kind, of) == ("tag", "commit"))


def files_at(folder: Path, commits: Iterable[str], paths: Sequence[Path]) -> dict[str, dict[Path, bytes]]:
    """Return the files that each commit has among the paths, all read by one process."""
    wanted = [(commit, path) for commit in commits for path in paths]
    lines = "".join(f"{commit}:./{path.as_posix()}\n" for commit, path in wanted)
    told = _bytes(folder, "cat-file", "--batch", given=lines.encode())
    found: dict[str, dict[Path, bytes]] = {commit: {} for commit, _ in wanted}
    place = 0
    for commit, path in wanted:
        heading, start = _heading(told, place)
        if len(heading) != 3:  # `<name> missing`, without a content
            place = start
            continue
        place = start + int(heading[2]) + 1
        if heading[1] == b"blob":
            found[commit][path] = told[start : place - 1]
    return found


def _heading(told: bytes, place: int) -> tuple[list[bytes], int]:
    end = told.index(b"\n", place)
    return told[place:end].split(b" "), end + 1


def _bytes(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
    done = subprocess.run(command, input=given, capture_output=True, check=False)  # noqa: S603  no shell
    if done.returncode:
        told = " ".join(done.stderr.decode(errors="replace").split())
        raise OutsideError(f"git {arguments[0]} failed: {told or done.returncode}")
    return done.stdout


def setting(folder: Path, key: str) -> str | None:
    """Return a setting of the folder's own repository; None if it is not set there."""
    return _git(folder, "config", "--local", "--get", key)


def set_setting(folder: Path, key: str, value: str) -> bool:
    """Set a setting of the folder's own repository; tell whether git did it."""
    return _git(folder, "config", "--local", key, value) is not None


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks, so that reading never gets in the way of the user's own git command.
    command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
