"""Gateways configured as the page has it, section by section, before one provider; a printed
command or script sent to them, and a printed answer beside what came.
"""

import asyncio
import json
import subprocess
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from tests.support.suite import RunningSuite
from tests.support.upstream import Behaviour, FakeUpstream

MODELS = ("gpt-3.5-turbo", "gpt-4", "llama3", "fake-openai-endpoint")

KEYED = """
litellm_settings:
  store_audit_logs: true
  callbacks: ["hide_secrets", "blocked_user_check", "llmguard_moderations"]
  llm_guard_mode: "key-specific"
  blocked_user_list: ["user_id_1", "user_id_2"]
  public_model_groups: ["gpt-4"]
general_settings:
  master_key: sk-1234
  block_robots: true
  alerting: ["slack"] # where alerts go is said at a start
"""
DEMANDING = """
general_settings:
  master_key: sk-1234
  enforced_params:
  - user
  - metadata.generation_name
"""
OPEN = """
litellm_settings:
  callbacks: ["blocked_user_check", "banned_keywords", "llmguard_moderations"]
  llm_guard_mode: "request-specific"
  blocked_user_list: blocked_list.txt
  banned_keywords_list: ["hello"] # can also be a .txt file - e.g.: `/relative/path/keywords.txt`
general_settings:
  allow_open_gateway: true
"""
SMALL = """
model_list:
- model_name: fake-openai-endpoint
  litellm_params:
    model: openai/fake
    api_key: fake-key
    api_base: https://exampleopenaiendpoint-production.up.railway.app/
general_settings:
  master_key: sk-1234
  # Security controls
  max_request_size_mb: 0.000000001 # 👈 Key Change - Max Request Size in MB. Set this very low for testing
  max_response_size_mb: 100 # 👈 Key Change - Max Response Size in MB
  alerting: ["slack"]
"""


SECTIONS = {"keyed": KEYED, "open": OPEN, "demanding": DEMANDING, "small": SMALL}


class Page:
    """Gateways before one provider, configured as the page does, one section after the other."""

    def __init__(self, provider: FakeUpstream) -> None:
        self.provider = provider
        # No keyword that is banned here: what a model says is looked through too.
        provider.behaviours = {name: Behaviour(text="How can I assist you today?") for name in MODELS}
        self.suites: dict[str, RunningSuite] = {}
        """By section; those that share a gateway take turns in its file, which it reads again."""
        self.asked_guard: list[str] = []
        self.alerts: list[dict[str, Any]] = []

    def at(self, section: str) -> RunningSuite:
        """The gateway with this section in force, or about to be."""
        suite = self.suites[section]
        text = self.text(section)
        if suite.config_path.read_text() != text:
            suite.config_path.write_text(text)
        return suite

    def text(self, section: str) -> str:
        text = SECTIONS[section]
        return text if "model_list" in text else self.models() + text

    def models(self) -> str:
        rows = [
            f"  - {{model_name: {name}, litellm_params: {{model: openai/{name}, api_key: k,"
            f' api_base: "{self.provider.base_url}", input_cost_per_token: 0.000004, output_cost_per_token: 0.000008}}}}'
            for name in MODELS
        ]
        return "\n".join(["model_list:", *rows])

    async def guard(self, request: web.Request) -> web.Response:
        """As the real LLM Guard was recorded."""
        prompt = (await request.json())["prompt"]
        self.asked_guard.append(prompt)
        return web.json_response({"is_valid": True, "scanners": {"Regex": 0.0}, "sanitized_prompt": prompt})

    async def slack(self, request: web.Request) -> web.Response:
        self.alerts.append(await request.json())
        return web.Response(text="ok")


async def shell(url: str, printed: str, **names: str) -> tuple[int, bytes]:
    """(status, body) of a printed command at a gateway; `names`: what stands for a printed key."""
    for host in ("http://0.0.0.0:4000", "http://localhost:4000"):
        printed = printed.replace(host, url)
    for name, value in names.items():
        printed = printed.replace(f"<{name}>", value)
    quiet = "curl() { command curl -sS --max-time 30 -w '\\n%{http_code}' \"$@\"; }\n"
    done = await asyncio.to_thread(subprocess.run, ["bash", "-c", quiet + printed], capture_output=True, check=True)
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


async def script(url: str, printed: str) -> Any:
    """Run a printed script of OpenAI's client; gives its `response`."""
    names: dict[str, Any] = {}
    code = printed.replace("http://0.0.0.0:4000", url).replace("print(response)", "")
    await asyncio.to_thread(exec, code, names)
    return names["response"]


def has_form(found: Any, printed: Any) -> bool:
    """Whether everything printed is there, of the same JSON type; of lists the first stands for
    all. Printed nulls may be anything.
    """
    if printed is None:
        return True
    if isinstance(printed, dict):
        return isinstance(found, dict) and all(
            name in found and has_form(found[name], value) for name, value in printed.items()
        )
    if isinstance(printed, list):
        return isinstance(found, list) and all(has_form(each, printed[0]) for each in found if printed)
    return isinstance(found, float | int if isinstance(printed, float) else type(printed))


def answer_of(**fields: Any) -> Callable[[bytes], bool]:
    """The body is this form, and these are its printed values."""
    return lambda body: has_form(json.loads(body), fields)


def auth_error(param: str) -> bytes:
    """As printed, to the byte."""
    message = f"Authentication Error, BadRequest please pass param={param} in request body. This is a required param"
    return f'{{"error":{{"message":"{message}","type":"auth_error","param":"None","code":401}}}}'.encode()


class Example(msgspec.Struct, kw_only=True):
    suite: str
    printed: str
    status: int = 200
    body: bytes | Callable[[bytes], bool]
    key: dict[str, Any] | None = None
    """What the printed key `<key>` was made with; None: the command names none."""


def says(**values: Any) -> Callable[[bytes], bool]:
    """The printed values are in the answer."""
    return lambda body: values.items() <= json.loads(body).items()


def same_metadata(body: bytes, wanted: dict[str, Any]) -> bool:
    return bool(json.loads(body)["metadata"] == wanted["metadata"])
