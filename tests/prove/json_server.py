"""A local JSON server for the programs here that run in another environment's Python: the standard
library alone.
"""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def json_server(port: int, answer: Callable[[str, Any], Any]) -> ThreadingHTTPServer:
    """Listens at once (port 0: at a free one), serves when told; `answer(path, body)` is the
    answer's body. What it raises is a 500.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                status, said = 200, json.dumps(answer(self.path, asked), default=str)
            except Exception as error:
                status, said = 500, json.dumps({"error": str(error)})
            data = said.encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
