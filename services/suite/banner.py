"""What a newcomer reads when everything is up: where it listens, and three commands to try."""

from services.suite.datadir import SuiteState
from services.suite.settings import ListeningPort
from shared.config import Config

EXAMPLE_KEY = "sk-1234"
"""The key of config.example.yaml. No other key is ever printed."""


def http_url(listener: ListeningPort) -> str:
    """The address to use from this machine; a wildcard host is reached by loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(listener.host, listener.host)  # noqa: S104
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{listener.port}"


def banner(state: SuiteState, config: Config) -> str:
    edge, ledger = state.edge_urls[0], state.ledger_urls[0]
    known = config.master_key is not None and config.master_key.reveal() == EXAMPLE_KEY
    key = EXAMPLE_KEY if known or config.master_key is None else "YOUR_MASTER_KEY"
    password = f"the master key, {key}" if known else "the master key, unless UI_PASSWORD says another"
    model = next((name for name in config.model_names if "*" not in name), "MODEL")  # a pattern can't be called
    more = f"  (and {', '.join(state.edge_urls[1:])})" if len(state.edge_urls) > 1 else ""
    warning = (
        "\nThe master key is the example's. Change it before anybody else can reach this machine.\n" if known else ""
    )
    return f"""
Tollgate is ready.

  OpenAI clients   {edge}/v1{more}
  the admin page   {edge}/ui  (user admin, password: {password})
  the book         {ledger}
{warning}
Try it:

  curl {edge}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}], "metadata": {{"tags": ["first-try"]}}}}'

  python3 -c 'import openai; print(openai.OpenAI(base_url="{edge}/v1", api_key="{key}").chat.completions.create(
    model="{model}", messages=[{{"role": "user", "content": "Hello"}}]).choices[0].message.content)'

  curl {edge}/spend/tags -H 'Authorization: Bearer {key}'

Ctrl-C stops it. The data stays.
"""
