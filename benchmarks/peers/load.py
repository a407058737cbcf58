"""Load by wrk: requests per second and latencies of one question, asked over so many connections."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.environment import MissingError
from benchmarks.peers.process import Question

_SCRIPT = """\
wrk.method = "POST"
local bodies = {{}}
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
wrk.body = bodies[1]
wrk.headers["Content-Type"] = "application/json"
{headers}
if #bodies > 1 then
  local last, requests = 0, {{}}
  init = function() for place, body in ipairs(bodies) do requests[place] = wrk.format(nil, nil, nil, body) end end
  request = function() last = last % #bodies + 1; return requests[last] end
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "failed": %d, "late": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status + errors.connect + errors.read + errors.write, errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What was measured: requests, seconds, latencies in ms, requests that failed, and answers after 2 s and more."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failed: int
    late: int


def wrk() -> str:
    """Return the path of wrk; raises MissingError where there is none."""
    path = shutil.which("wrk")
    if path is None:
        raise MissingError("wrk is missing; install it, such as with: apt-get install wrk")
    return path


def ask(port: int, question: Question, connections: int, seconds: int, folder: Path) -> Load:
    """Ask a question of a server on this machine for some seconds; raises MissingError where there is no wrk."""
    bodies, script = folder / "bodies", folder / "ask.lua"
    bodies.write_bytes(b"".join(body + b"\n" for body in (question.body, *question.others)))
    headers = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(each)}" for name, each in question.headers.items()
    )
    script.write_text(_SCRIPT.format(bodies=bodies, headers=headers))
    command = [wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    done = subprocess.run(  # noqa: S603
        [*command, f"http://127.0.0.1:{port}{question.path}"], capture_output=True, text=True, check=True
    )
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))
