"""What becomes of prompts and answers: the key's word before the team's, before the
configuration's; on keeping, and on sinks that show them.
"""

from typing import Any

import pytest

from shared.entities import Team
from shared.grant import Grant
from tests.policy.world import CONFIG, World, key

SHOWS = {"callback_name": "langfuse"}
HIDES = {"callback_name": "langfuse", "callback_vars": {"turn_off_message_logging": "true"}}
ON, OFF = {"store_prompts_in_spend_logs": True}, {"store_prompts_in_spend_logs": False}


def config(general: str = "", litellm: str = "") -> str:
    text = CONFIG.replace("general_settings:\n", f"general_settings:\n{general}")
    return text.replace("litellm_settings:\n", f"litellm_settings:\n{litellm}")


KEEPS = config("  store_prompts_in_spend_logs: true\n")
SENDS = config(litellm="  success_callback: [langfuse]\n")
SILENT = config(litellm="  success_callback: [langfuse]\n  turn_off_message_logging: true\n")
TEAMS = config(
    litellm="  success_callback: [langfuse]\n  default_team_settings: [{team_id: t, success_callback: [otel], turn_off_message_logging: true}]\n"
)
GUARDS = config(litellm="  success_callback: [prometheus]\n")


@pytest.mark.parametrize(
    ("text", "of_key", "of_team", "wanted"),
    [
        (CONFIG, {}, {}, ""), (KEEPS, {}, {}, "kept"), (KEEPS, {}, OFF, ""), (KEEPS, ON, OFF, "kept"), (KEEPS, OFF, ON, ""),
        (CONFIG, {}, ON, "kept"), (CONFIG, ON, {}, "kept"), (GUARDS, {}, {}, ""),
        (SENDS, {}, {}, "sent"), (SILENT, {}, {}, ""), (TEAMS, {}, {}, ""),
        (CONFIG, {"logging": [SHOWS]}, {}, "sent"), (CONFIG, {}, {"logging": [SHOWS]}, "sent"),
        (SENDS, {"logging": [HIDES]}, {}, ""), (SENDS, {"logging": []}, {}, ""), (SENDS, {}, {"logging": []}, ""),
        (SENDS, {"logging": [HIDES]}, {"logging": [SHOWS]}, ""), (SILENT, {"logging": [SHOWS]}, {}, ""),
        (SILENT, {"logging": [{**SHOWS, "callback_vars": {"turn_off_message_logging": "false"}}]}, {}, "sent"),
        (SENDS, {**OFF}, {}, "sent"), (SENDS, {**ON, "logging": []}, {}, "kept"),
        (CONFIG, {}, {"callback_settings": {"success_callback": ["langfuse"]}}, "sent"),
    ],
)  # fmt: skip
def test_who_says_what(text: str, of_key: dict[str, Any], of_team: dict[str, Any], wanted: str) -> None:
    world = World(Team(team_id="t", metadata=of_team), key("k", team_id="t", metadata=of_key), text=text)
    grant = world.decide("sk-k-0123456789abcdef", model="gpt")
    assert isinstance(grant, Grant) and grant.content == wanted


def test_a_flag_must_be_one() -> None:
    world = World()
    refused = world.call(
        "/key/generate", {"token": "a" * 64, "key_name": "x", "metadata": {"store_prompts_in_spend_logs": "yes"}}
    )
    assert refused.status == 400 and refused.param == "metadata.store_prompts_in_spend_logs"
