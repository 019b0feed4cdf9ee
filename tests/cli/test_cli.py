"""`tollgate`: which command is which program, LiteLLM's flags, and what a file's keys and models
come to.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli import check, main, run
from shared.config import parse
from shared.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def tollgate(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOLLGATE_", "LITELLM_", "OPENAI_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        cwd=ROOT,
        env={**env, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


JWT = "general_settings: {master_key: sk-long-enough, enable_jwt_auth: true"
FILE = """
model_list:
- {model_name: good, litellm_params: {model: openai/m, mock_response: hi}}
- {model_name: bad, litellm_params: {model: acme-model}}
general_settings: {master_key: os.environ/MASTER, http2: true, num_retries: 3}
litellm_settings: {http2: true, surprising: 1, telemetry: false}
"""


def test_check_config_says_it_all(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(FILE)
    found = tollgate("check-config", str(file), MASTER="sk-canary-master")
    assert found.returncode == 1, found.stderr
    for line in (
        "general_settings.master_key .*acts", "general_settings.num_retries .*differently: as litellm_settings.num_retries",
        "litellm_settings.http2 .*without effect: ", "litellm_settings.surprising .*unknown", "litellm_settings.telemetry .*acts: ",
        "good: openai/m answers by itself", "bad: LEFT OUT: .*doesn't say whose it is", "1 models served, 1 left out",
    ):  # fmt: skip
        assert re.search(line, found.stdout), line
    assert "canary" not in found.stdout + found.stderr
    assert tollgate("check-config", "--lenient", str(file), MASTER="sk-canary-master").returncode == 0
    found = tollgate("check-config", "--json", str(file), MASTER="sk-canary-master")
    assert [each["model"] for each in json.loads(found.stdout)["left_out"]] == ["bad"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("general_settings: {}", "no master key"),
        ("general_settings: {master_key: os.environ/NOT_SET}", "NOT_SET is not set, or empty"),
        ("general_settings: {master_key: sk-long-enough, custom_auth: my.auth}", "custom_auth can't be enforced"),
        (
            "general_settings: {master_key: sk-long-enough}\nlitellm_settings: {callbacks: [lakera_prompt_injection]}",
            "isn't known here",
        ),
        ("a: [", "not valid YAML"),
        (f"{JWT}}}", r"set JWT_AUDIENCE or JWT_ISSUER .* \(policy\)"),
        (f"{JWT}, allow_any_audience: true, trusted_proxy_ranges: [nowhere]}}", r"trusted_proxy_ranges: .* \(edge\)"),
    ],
)
def test_a_refused_file_is_a_sentence_and_exit_2(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    found = tollgate("check-config", str(file), JWT_PUBLIC_KEY_URL="https://idp.example/keys")
    assert found.returncode == 2 and re.search(sentence, found.stderr) and "Traceback" not in found.stderr


def test_the_example_acts_on_everything() -> None:
    assert tollgate("check-config", "config.example.yaml").returncode == 0


def test_flags_of_litellm() -> None:
    given = run.parser().parse_args(
        [
            "--config",
            "c.yaml",
            "--port",
            "8000",
            "--host",
            "0.0.0.0",
            "--num_workers",
            "3",
            "--detailed_debug",
            "--run_gunicorn",
            "--ssl_certfile_path",
            "c.pem",
            "--ssl_keyfile_path",
            "k.pem",
        ]
    )
    assert run.environment(given) == {
        "TOLLGATE_CONFIG": "c.yaml", "TOLLGATE_EDGE_PORT": "8000", "TOLLGATE_EDGE_HOST": "0.0.0.0", "TOLLGATE_REPLICAS": "edge=3",
        "TOLLGATE_LOG_LEVEL": "debug", "TOLLGATE_DETAILED_DEBUG": "true", "TOLLGATE_EDGE_TLS_CERT_FILE": "c.pem",
        "TOLLGATE_EDGE_TLS_KEY_FILE": "k.pem",
    }  # fmt: skip
    assert run.environment(run.parser().parse_args([])) == {}


def test_one_model_without_a_file() -> None:
    given = run.parser().parse_args(
        ["--model", "ollama/llama3", "--alias", "llama", "--api_base", "http://gpu:11434", "--temperature", "0.2"]
    )
    (deployment,) = parse(json.dumps(run.one_model(given)), {}).deployments
    assert (deployment.model_name, deployment.provider, deployment.upstream_model) == ("llama", "ollama", "llama3")
    assert deployment.api_base.startswith("http://gpu:11434") and deployment.parameters == {"temperature": 0.2}


def test_commands() -> None:
    assert tollgate("--version").stdout.strip() == f"tollgate {VERSION}"
    assert "check-config" in tollgate("--help").stdout
    wrong = tollgate("frobnicate")
    assert wrong.returncode == 2 and "no command 'frobnicate'" in wrong.stderr
    assert tollgate("run", "--ssl_keyfile_path", "x").returncode == 2
    assert tollgate("run", "--config", "nowhere.yaml", "--telemetry", "False").stderr.count("has no effect") == 1
    found = tollgate("edge", TOLLGATE_CONFIG="nowhere.yaml")
    assert found.returncode == 2 and "cannot read nowhere.yaml" in found.stderr
    for service, _ in main.OF_SERVICE.values():
        assert service in main.SERVICES
    assert set(check.WORDS) == {"acts", "differently", "no effect", "unknown"}


def test_the_version_is_said_once() -> None:
    files = [*ROOT.glob("*.toml"), *ROOT.glob("shared/*.py"), *ROOT.glob("services/**/*.py")]
    assert [path.name for path in files if f'"{VERSION}"' in path.read_text()] == ["version.py"]


def test_who_reads_may_stop_reading() -> None:
    """`tollgate check-config ... | head -1`: nothing of ours on the terminal."""
    env = {**os.environ, "PYTHONUNBUFFERED": ""}
    for module, arguments in (
        ("services.cli", ["check-config", "config.example.yaml"]),
        ("services.ledger", ["verify", "--help"]),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=env,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writing)
        assert done.stderr == "" and done.returncode in (0, 1), done.stderr
