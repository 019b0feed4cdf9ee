"""Run by the Python of an environment with llm-guard in it: the API server's routes over the real
library, with the scanners that need no model.

`llm_guard_app.py PORT`. The API server itself isn't published as a package; its answers were
recorded, and these are made as it makes them. Says "ready" on standard output.
"""

import sys
from typing import Any

from json_server import json_server
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


def answer(path: str, asked: Any) -> Any:
    if path == "/analyze/prompt":
        text, valid, scores = scan_prompt(prompt_scanners, asked["prompt"])
        return {"is_valid": all(valid.values()), "scanners": scores, "sanitized_prompt": text}
    text, valid, scores = scan_output(output_scanners, asked.get("prompt", ""), asked["output"])
    return {"is_valid": all(valid.values()), "scanners": scores, "sanitized_output": text}


server = json_server(int(sys.argv[1]), answer)
print("ready", flush=True)
server.serve_forever()
