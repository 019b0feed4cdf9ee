"""Run by the Python of an environment with llm-guard in it: the API server's routes over the real library, with the scanners that need no model.

`llm_guard_app.py PORT`. The API server itself isn't published as a package; its answers were recorded, and these are made as it makes them. Says
"ready" on standard output.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from llm_guard import scan_output, scan_prompt
from llm_guard.input_scanners import BanSubstrings, InvisibleText, Regex
from llm_guard.output_scanners import BanSubstrings as OutputBanSubstrings
from llm_guard.output_scanners import Regex as OutputRegex

BEARER = [r"Bearer [A-Za-z0-9-._~+/]+"]
prompt_scanners = [
    Regex(patterns=BEARER, is_blocked=True, redact=True),
    BanSubstrings(substrings=["BOMB"], redact=True),
    InvisibleText(),
]
output_scanners = [
    OutputRegex(patterns=BEARER, is_blocked=True, redact=True),
    OutputBanSubstrings(substrings=["BOMB"], redact=True),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/analyze/prompt":
            text, valid, scores = scan_prompt(prompt_scanners, asked["prompt"])
            said = {"is_valid": all(valid.values()), "scanners": scores, "sanitized_prompt": text}
        else:
            text, valid, scores = scan_output(output_scanners, asked.get("prompt", ""), asked["output"])
            said = {"is_valid": all(valid.values()), "scanners": scores, "sanitized_output": text}
        data = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
