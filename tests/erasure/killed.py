"""Erases in processes that end, as by kill -9, before one of their effects.

Run as: python -m tests.erasure.killed, then a folder and a number per line on the input: where, and the effect before
which to die. Answers each with the exit code, or `killed`. Nothing is computed before a process is forked.
"""

import os
import signal
import sys

from tests.erasure.project import run

ON_FILES = ("os.rename", "os.remove", "os.truncate")
WATCHED = ("/log/", "/incoming/", "/.dvc/cache/")
ON_BRANCHES = ("commit-tree", "update-ref")


def die_before(effect: int) -> None:
    """Kill this process before its so-many-th change of the log, the cache, a source or a branch."""
    left = effect

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        text = " ".join(map(str, arguments))
        of_files = event in ON_FILES and any(part in text for part in WATCHED)
        if of_files or (event == "subprocess.Popen" and any(word in text for word in ON_BRANCHES)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main() -> None:
    import trunkline.erasure.erase

    assert trunkline.erasure.erase
    for line in sys.stdin:
        folder, effect = line.split()
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            die_before(int(effect))
            run()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{'killed' if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
