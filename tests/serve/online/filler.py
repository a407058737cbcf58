"""Runs `trunkline materialize` or `trunkline push` in small batches, killed before a call that the store's code makes.

Run as: python -m tests.serve.online.filler CALL VERB ARGUMENT…; CALL 0 lives.
"""

import sys

from tests.serve.online.pusher import die_before
from trunkline.cli.materialize import materialize
from trunkline.cli.push import push
from trunkline.serve import materialize as serve_materialize

BATCH = 10  # rows

if __name__ == "__main__":
    call, verb, *arguments = sys.argv[1:]
    serve_materialize.BATCH = BATCH
    if int(call):
        die_before(int(call))
    {"materialize": materialize, "push": push}[verb](arguments, standalone_mode=False)
