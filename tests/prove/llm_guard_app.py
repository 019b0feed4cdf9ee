"""Run by the Python of an environment with llm-guard in it: the API server's routes over the real
library, with the scanners that need no model.

`llm_guard_app.py PORT`. The API server itself isn't published as a package; its answers were
recorded, and these are made as its source makes them. Says "ready" on standard output.
"""

import sys
from typing import Any

from json_server import json_server
from llm_guard import scan_output, scan_prompt
from llm_guard.input_scanners import BanSubstrings, InvisibleText, Regex, Secrets
from llm_guard.output_scanners import BanSubstrings as OutputBanSubstrings
from llm_guard.output_scanners import Regex as OutputRegex

BEARER = [r"Bearer [A-Za-z0-9-._~+/]+"]
prompt_scanners = [
    Regex(patterns=BEARER, is_blocked=True, redact=True),
    BanSubstrings(substrings=["BOMB"], redact=True),
    Secrets(),
    InvisibleText(),
]
output_scanners = [
    OutputRegex(patterns=BEARER, is_blocked=True, redact=True),
    OutputBanSubstrings(substrings=["BOMB"], redact=True),
]


def answer(path: str, asked: Any) -> Any:
    suppressed = asked.get("scanners_suppress") or []

    def wanted(scanners: list[Any]) -> list[Any]:
        return [scanner for scanner in scanners if type(scanner).__name__ not in suppressed]

    if path.endswith("/prompt"):
        text, valid, scores = scan_prompt(wanted(prompt_scanners), asked["prompt"])
    else:
        text, valid, scores = scan_output(wanted(output_scanners), asked["prompt"], asked["output"])
    said = {"is_valid": all(valid.values()), "scanners": scores}
    return said | ({"sanitized_" + path.rpartition("/")[2]: text} if path.startswith("/analyze/") else {})


server = json_server(int(sys.argv[1]), answer)
print("ready", flush=True)
server.serve_forever()
