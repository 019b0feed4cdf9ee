"""`tollgate run`: everything on this machine. It takes the flags of the command `litellm`; what one
of them can't do here is said.
"""

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from shared.version import VERSION

NO_EFFECT = {
    "--run_gunicorn": "", "--run_hypercorn": "", "--run_granian": "", "--use_queue": "", "--local": "", "--skip_server_startup": "",
    "--use_prisma_migrate": "", "--use_prisma_db_push": "", "--enforce_prisma_migration_check": "", "--use_v2_migration_resolver": "",
    "--use_legacy_migration_resolver": "", "--add_function_to_prompt": "", "--setup": "", "--reload": "", "--save": "",
    "--telemetry": "TEXT", "--log_config": "FILE", "--keepalive_timeout": "N", "--timeout_worker_healthcheck": "N",
    "--max_requests_before_restart": "N", "--max_requests_before_restart_jitter": "N", "--granian_threads": "N", "--ciphers": "TEXT",
    "--max_request_header_size": "N", "--limit_concurrency": "N", "--num_requests": "N", "--prometheus_metrics_port": "N",
    "--iam_token_db_auth": "", "--azure_postgresql_auth": "", "--max_budget": "N", "--add_key": "TEXT", "--headers": "TEXT",
}  # fmt: skip
"""LiteLLM's flags that are taken and do nothing, with the value they have."""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="tollgate", description="Run all of Tollgate on this machine.", allow_abbrev=False
    )
    found.add_argument("--config", "-c", metavar="FILE", help="LiteLLM's config.yaml (or TOLLGATE_CONFIG)")
    found.add_argument("--host", help="where clients are listened to (or TOLLGATE_EDGE_HOST); default 127.0.0.1")
    found.add_argument("--port", type=int, metavar="N", help="(or TOLLGATE_EDGE_PORT); default 4000")
    found.add_argument(
        "--num_workers", type=int, metavar="N", help="edges, each on a port of its own (TOLLGATE_REPLICAS)"
    )
    found.add_argument("--model", "-m", help="serve one model, without a file: provider/model")
    found.add_argument("--alias", help="the name it is served by")
    found.add_argument("--api_base", metavar="URL", help="its address")
    found.add_argument("--api_version", help="Azure's")
    found.add_argument("--temperature", type=float, metavar="N", help="sent unless the caller says otherwise")
    found.add_argument("--max_tokens", type=int, metavar="N", help="sent unless the caller says otherwise")
    found.add_argument("--request_timeout", type=float, metavar="SECONDS", help="a call may take")
    found.add_argument("--drop_params", action="store_true", help="leave out parameters that a provider doesn't take")
    found.add_argument("--debug", action="store_true", help="debug lines in the log")
    found.add_argument("--detailed_debug", action="store_true", help="also prompts, and requests as providers get them")
    found.add_argument("--version", "-v", action="version", version=f"tollgate {VERSION}")
    found.add_argument("--ssl_certfile_path", metavar="FILE", help="clients speak TLS with this certificate, PEM")
    found.add_argument("--ssl_keyfile_path", metavar="FILE", help="its key")
    for flag, value in NO_EFFECT.items():
        if value:
            found.add_argument(flag, metavar=value, help=argparse.SUPPRESS)
        else:
            found.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    return found


def command(arguments: list[str]) -> int:
    """Exit status: the suite's; 2 for flags that can't be followed."""
    given = parser().parse_args(arguments)
    if bool(given.ssl_keyfile_path) != bool(given.ssl_certfile_path):
        print("tollgate: --ssl_certfile_path and --ssl_keyfile_path: TLS needs both", file=sys.stderr)
        return 2
    for flag in NO_EFFECT:
        if getattr(given, flag.lstrip("-")):
            print(f"tollgate: {flag} has no effect", file=sys.stderr)
    if given.model and given.config:
        print("tollgate: --model is for a start without --config", file=sys.stderr)
        return 2
    if importlib.util.find_spec("services.suite") is None:
        print(
            "tollgate: the image has one service a container: tollgate edge, policy, moderation or ledger",
            file=sys.stderr,
        )
        return 2
    os.environ.update(environment(given))
    if given.model:
        os.environ["TOLLGATE_CONFIG"] = _one_model(given)
    from services.suite import app  # noqa: PLC0415 - the other commands don't need it

    return app.main([])


def environment(given: argparse.Namespace) -> dict[str, str]:
    """What the flags mean as variables. Pure."""
    found = {
        "TOLLGATE_CONFIG": given.config,
        "TOLLGATE_EDGE_HOST": given.host,
        "TOLLGATE_EDGE_PORT": given.port,
        "TOLLGATE_REPLICAS": f"edge={given.num_workers}" if (given.num_workers or 1) > 1 else None,
        "TOLLGATE_EDGE_TLS_CERT_FILE": given.ssl_certfile_path,
        "TOLLGATE_EDGE_TLS_KEY_FILE": given.ssl_keyfile_path,
        "TOLLGATE_LOG_LEVEL": "debug" if given.debug or given.detailed_debug else None,
        "TOLLGATE_DETAILED_DEBUG": "true" if given.detailed_debug else None,
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def one_model(given: argparse.Namespace) -> dict[str, Any]:
    """The configuration that `--model` and its flags mean. Pure."""
    named = {"model": given.model, "api_base": given.api_base, "api_version": given.api_version}
    params = {
        **named,
        "temperature": given.temperature,
        "max_tokens": given.max_tokens,
        "timeout": given.request_timeout,
    }
    entry = {key: value for key, value in params.items() if value is not None}
    return {
        "model_list": [{"model_name": given.alias or given.model, "litellm_params": entry}],
        "litellm_settings": {"drop_params": given.drop_params},
    }


def _one_model(given: argparse.Namespace) -> str:
    """The file it is written to: JSON is YAML."""
    directory = Path(os.environ.get("TOLLGATE_DATA_DIR") or ".tollgate")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "one-model.json"
    path.write_text(json.dumps(one_model(given)))
    return str(path)
