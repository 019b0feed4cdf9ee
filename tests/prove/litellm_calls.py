"""Run by the Python of an environment with litellm in it: what LiteLLM sends and answers for
conversations read from standard input.

One local server stands for every provider: it remembers the body, and answers what it is told to.
"""

import json
import os
import sys
import threading
from typing import Any

os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_REGION="us-east-1"
)

import litellm  # type: ignore[import-not-found]
from json_server import json_server

state: dict[str, Any] = {}


def reply(_path: str, asked: Any) -> Any:
    state["body"] = asked
    return state["reply"]


def main() -> None:
    litellm.suppress_debug_info = True
    server = json_server(0, reply)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    found = []
    for case in json.load(sys.stdin):
        state.clear()
        state["reply"] = case["reply"]
        where = {
            "anthropic": {"api_base": base, "api_key": "k"},
            "gemini": {"api_base": f"{base}/v1beta/models/{case['model'].partition('/')[2]}", "api_key": "k"},
            "bedrock": {"aws_bedrock_runtime_endpoint": base},
        }[case["wire"]]
        answer = litellm.completion(model=case["model"], **case["request"], **where, max_retries=0)
        found.append({"body": state["body"], "answer": json.loads(answer.model_dump_json())})
    json.dump(found, sys.stdout)


main()
