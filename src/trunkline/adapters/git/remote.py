"""What changes a repository or talks to the remote `origin`: commits, tags, fetching, pushing.

Nothing here touches the user's working tree, but for `commit`. A token of the environment is asked for by git itself,
so that it stands in no command line and no file, and goes to its own server only.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trunkline.adapters.git import repository
from trunkline.adapters.git.process import Done, attempt, output, stdout
from trunkline.core.errors import OutsideError, UserError, one_line

# The tokens that git may use, and what names the only server that each is for.
TOKENS = {
    "GITHUB_TOKEN": ("GITHUB_SERVER_URL", "https://github.com"),
    "GITLAB_TOKEN": ("CI_SERVER_URL", "https://gitlab.com"),
}
_USER = "x-access-token"  # both forges take any name beside a token
_CLOBBERED = re.compile(r"^ ! \[rejected\] +(\S+) +-> .*would clobber existing tag", re.MULTILINE)
_NOBODY = ("-c", "user.name=trunkline", "-c", "user.email=trunkline@localhost")

# pushed: the branch has the commit now. same: it had it before. moved: it has another one, or is gone.
Branch = Literal["pushed", "same", "moved"]


@dataclass(frozen=True)
class Fetched:
    """The tip of the trunk at the remote, and the tags that point to something else there than here."""

    tip: str
    moved: tuple[str, ...]


def fetch(folder: Path, trunk: str, environ: Mapping[str, str]) -> Fetched:
    """Fetch the trunk and all tags of origin, into a clone of any kind; a tag that is here is never replaced.

    Raises UserError for a trunk that origin does not have, OutsideError where the remote cannot be reached.
    """
    _ref(trunk, "--trunk")
    ours = f"refs/remotes/origin/{trunk}"
    specs = (f"+refs/heads/{trunk}:{ours}", "refs/tags/*:refs/tags/*")
    done = _remote(folder, environ, "fetch", "--no-tags", "--no-write-fetch-head", "origin", *specs)
    moved = tuple(sorted(_CLOBBERED.findall(done.stderr)))
    fetched = repository.resolve(folder, ours)
    if "couldn't find remote ref" in done.stderr:
        raise UserError(f"--trunk: origin has no branch '{trunk}'; name the branch that production follows")
    if (done.returncode and not moved) or fetched is None:
        raise OutsideError(f"git fetch origin failed: {_line(done)}")
    return Fetched(fetched, moved)


def clone(address: str, ref: str, folder: Path, environ: Mapping[str, str]) -> None:
    """Clone somebody's repository, with a branch or a tag checked out, into a folder that does not exist.

    Raises OutsideError for one that cannot be cloned, or has no such ref.
    """
    options = ("--quiet", "--config", "advice.detachedHead=false", "--branch", ref)
    done = _remote(folder.parent, environ, "clone", *options, "--", address, str(folder))
    if done.returncode:
        raise OutsideError(f"git clone failed: {_line(done)}")


def commit(folder: Path, paths: Sequence[str], message: str) -> None:
    """Commit files, and nothing else, as the repository's user, or as trunkline where it names none."""
    output(folder, "add", "--", *paths)
    output(folder, *_author(folder), "commit", "--quiet", "--no-verify", "--message", message, "--", *paths)


def commit_file(folder: Path, parent: str, path: Path, text: str, message: str) -> str:
    """Return a new commit on top of another that differs from it in one file; no branch and no working tree changes."""
    return commit_files(folder, parent, {path: blob(folder, text)}, message)


def commit_files(folder: Path, parent: str, blobs: Mapping[Path, str], message: str) -> str:
    """Return a new commit as `commit_file`, which has these blobs as files."""
    with tempfile.TemporaryDirectory() as aside:
        index = {**os.environ, "GIT_INDEX_FILE": str(Path(aside, "index"))}
        output(folder, "read-tree", parent, environ=index)
        for path, name in blobs.items():
            entry = f"100644,{name},{repository.prefix(folder)}{path.as_posix()}"
            output(folder, "update-index", "--add", "--cacheinfo", entry, environ=index)
        tree = output(folder, "write-tree", environ=index).decode().strip()
    commit = output(folder, *_author(folder), "commit-tree", tree, "-p", parent, given=message.encode())
    return commit.decode().strip()


def blob(folder: Path, content: str | bytes) -> str:
    """Return the id of a text, or of bytes, as git has it now, in no commit yet."""
    given = content.encode() if isinstance(content, str) else content
    return output(folder, "hash-object", "-w", "--stdin", given=given).decode().strip()


def branch(folder: Path, name: str, commit: str, before: str | None = None) -> None:
    """Make a local branch, or move the one that is at the commit `before`.

    Raises UserError where there is one of this name that is elsewhere.
    """
    ref = _ref(name, "--local")
    if repository.resolve(folder, ref) == commit:
        return
    if stdout(folder, "update-ref", ref, commit, before or "") is None:
        raise UserError(f"there is a branch {name} already; delete it with: git branch -D {name}")


def annotated(folder: Path, name: str, commit: str, message: str) -> str:
    """Return a new annotated tag, which no ref names yet."""
    tagger = output(folder, *_author(folder), "var", "GIT_COMMITTER_IDENT").decode().strip()
    content = f"object {commit}\ntype commit\ntag {name}\ntagger {tagger}\n\n{message}"
    return output(folder, "mktag", given=content.encode()).decode().strip()


def push_tags(folder: Path, tags: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Push new tags, by name, all at once, and name them here too.

    False if origin has another tag of one of these names, which stays as it is. Raises OutsideError for everything else
    that the remote answers.
    """
    refs = {f"refs/tags/{name}": tag for name, tag in tags.items()}
    specs = [f"{tag}:{ref}" for ref, tag in refs.items()]
    done = _remote(folder, environ, "push", "--porcelain", "--atomic", "origin", *specs)
    if done.returncode:
        # What origin has now decides: of two that push at once, the second finds the first's lock, or its tags.
        there = {ref: _at(folder, environ, ref, ref) for ref in refs}
        if any(there[ref] not in (None, tag) for ref, tag in refs.items()):
            return False
        if there != refs:
            raise OutsideError(f"git push origin {' '.join(tags)} failed: {_line(done)}")
    for ref, tag in refs.items():
        output(folder, "update-ref", ref, tag)
    return True


def push(  # noqa: PLR0913  what, where to, and how
    folder: Path,
    branch: str,
    environ: Mapping[str, str],
    *,
    commit: str = "HEAD",
    create: bool = False,
    replace: bool = False,
    seen: str | None = None,
) -> Branch:
    """Push a commit to a branch of origin that has no commit which it does not have; one that is gone stays gone.

    With `create`, one that is not there is made; with `replace`, what it has is replaced, if nobody pushes meanwhile.
    `seen` is the commit that it had when it was looked at, "" where there was no branch: with another one it has moved.
    Raises UserError for a name that no branch can have and for something that cannot be a token, OutsideError for
    everything else that the remote answers.
    """
    ref = _ref(branch, "--push")
    tip = _at(folder, environ, ref, branch)
    if tip == repository.resolve(folder, commit) or (tip is None and not create):
        return "same" if tip else "moved"
    if seen is not None and seen != (tip or ""):
        return "moved"
    lease = [f"--force-with-lease={ref}:{tip or ''}"] if replace else []
    done = _remote(folder, environ, "push", "--porcelain", *lease, "origin", f"{commit}:{ref}")
    if not done.returncode:
        return "pushed"
    if f"{ref}\t[rejected]" in done.stdout:
        return "moved"
    there = _at(
        folder, environ, ref, branch
    )  # of two that push at once, the second finds the first's lock, or its commit
    if there == tip:
        raise OutsideError(f"git push origin {branch} failed: {_line(done)}")
    return "pushed" if there == repository.resolve(folder, commit) else "moved"


def fetch_branch(folder: Path, branch: str, environ: Mapping[str, str]) -> str | None:
    """Fetch a branch of origin and return its commit; None if there is none. Raises OutsideError as `fetch`."""
    ref, ours = _ref(branch, "--push"), f"refs/remotes/origin/{branch}"
    if _at(folder, environ, ref, branch) is None:
        return None
    done = _remote(folder, environ, "fetch", "--no-tags", "--no-write-fetch-head", "origin", f"+{ref}:{ours}")
    if done.returncode:
        raise OutsideError(f"git fetch origin {branch} failed: {_line(done)}")
    return repository.resolve(folder, ours)


def _ref(branch: str, option: str) -> str:
    ref = f"refs/heads/{branch}"
    if stdout(Path(), "check-ref-format", ref) is None:
        raise UserError(f"{option}: no branch can be named '{branch}'; name the branch of origin that holds the change")
    return ref


def _author(folder: Path) -> tuple[str, ...]:
    return () if stdout(folder, "config", "--get", "user.email") else _NOBODY


def _at(folder: Path, environ: Mapping[str, str], ref: str, name: str) -> str | None:
    """Return what a ref of origin, to which a push is meant, points to; None if it has none."""
    listed = _remote(folder, environ, "ls-remote", "origin", ref)
    if listed.returncode:
        raise OutsideError(f"git push origin {name} failed: {_line(listed)}")
    rows = (line.split("\t") for line in listed.stdout.splitlines())
    return next((commit for commit, name in rows if name == ref), None)


def _remote(folder: Path, environ: Mapping[str, str], *arguments: str) -> Done:
    given = [word for setting in _credentials(environ) for word in ("-c", setting)]
    return attempt(folder, {**environ, "LC_ALL": "C"}, *given, *arguments)


def _line(done: Done) -> str:
    return one_line(done.stdout + done.stderr)


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
