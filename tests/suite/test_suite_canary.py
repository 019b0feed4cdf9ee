"""Every test with a running suite looks at its log for secrets when it ends: this looks at that
look.
"""

import json
from pathlib import Path

import pytest

from tests.support.suite import RunningSuite

CONFIG = """
model_list:
  - model_name: m
    litellm_params: {model: openai/m, api_key: "provider-key-0123456789", api_base: https://x}
  - model_name: n
    litellm_params:
      api_key: other-provider-key-9876
  - model_name: o
    litellm_params: {model: openai/o, api_key: os.environ/OPENAI_API_KEY}
general_settings: {master_key: sk-1234}
"""
TOLD = {
    "a virtual key": "made sk-Ab3_fghijklmnopqrstuv-xyz today",
    "a provider's key": "Authorization: Bearer provider-key-0123456789",
    "another's": "other-provider-key-9876",
    "of the environment": "password was from-the-environment",
    "of an embedded server": "postgresql://u:kept-password-0123@h/d",
}
FINE = (
    "a key of sk-...o42w",
    "sk-1234",
    "os.environ/OPENAI_API_KEY isn't set",
    "https://example.com/a/long/address/of/somebody",
    "TOLLGATE_X_URL=/some/where/long",
)


@pytest.mark.parametrize("line", [*TOLD.values(), *FINE])
def test_a_secret_in_the_log_is_found(tmp_path: Path, line: str) -> None:
    env = {
        "SMTP_PASSWORD": "from-the-environment",
        "KEY_FILE": "/some/where/long",
        "DOCS_TITLE": "a title of some length",
    }
    suite = RunningSuite(tmp_path, CONFIG, env=env)
    suite.data_dir.mkdir()
    kept = {
        "nats_port": 4222,
        "nats_passwords": {"operator-control": "kept-password-9999"},
        "postgres_password": "kept-password-0123",
    }
    (suite.data_dir / "embedded.json").write_text(json.dumps(kept))
    suite.log_path.write_text(f'{{"event":"ready"}}\n{line}\na title of some length\n')
    assert bool(suite.secrets_told()) is (line in TOLD.values())
