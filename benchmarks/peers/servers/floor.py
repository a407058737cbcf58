"""The floor: our server's stack, which decodes the body and answers a constant."""

import sys
from typing import Any

import msgspec
import uvicorn


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, decode it, and answer."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    msgspec.json.decode(body)
    answer = b'{"score":0.5}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    options: dict[str, Any] = {"loop": "uvloop", "http": "httptools", "access_log": False, "server_header": False}
    uvicorn.run(app, port=int(sys.argv[1]), lifespan="off", ws="none", interface="asgi3", **options)
