"""`reseal`: after a new sealing key every sealed value in CONTROL is under it, and opens to what it
was, without the old key.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from services.policy import resealing
from shared import sealing
from shared.entities import Credential, Model, callbacks
from shared.sealing import Keyring, Sealed
from tests.policy.conftest import replica
from tests.policy.test_policy_live import facts_of
from tests.policy.world import CONFIG, World, digest, key
from tests.support.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "an-old-salt-key-0123", "a-new-salt-key-45678"


def sealed(text: str, place: str) -> list[str]:
    return list(msgspec.to_builtins(Keyring([OLD]).seal(json.dumps(text), place)))


def logged(value: str) -> dict:
    return {
        "logging": [
            {"callback_name": "langfuse", "callback_vars": {"langfuse_secret_key": value, "langfuse_host": "h"}}
        ]
    }


def test_what_is_under_an_older_key_is_wrapped_anew_and_nothing_else_changes() -> None:
    variable = sealing.text_of(Keyring([OLD]).seal("lf-secret", callbacks.place("langfuse", "langfuse_secret_key")))
    world = World(
        Model(
            model_id="m",
            model_name="gpt",
            litellm_params={"model": "openai/x"},
            sealed={"api_key": sealed("k", "model/m/api_key")},
        ),
        Credential(credential_name="c", sealed={"api_key": sealed("k2", "credential/c/api_key")}),
        Model(model_id="moved", model_name="x", sealed={"api_key": sealed("k", "model/other/api_key")}),
        key("a", metadata=logged(variable)),
        key("b", metadata={"x": 1}),
    )
    names = [(kind, each) for kind, table in world.directory.tables.items() for each in table]
    changes, failed = resealing.planned(world.directory, Keyring([NEW, OLD]), names)
    assert {(c.kind, c.entity_id, c.action) for c in changes} == {
        ("model", "m", "resealed"), ("credential", "c", "resealed"), ("key", digest("a"), "resealed"),
    }  # fmt: skip
    assert len(failed) == 1 and "model moved" in failed[0], "what was sealed for another place isn't given a new seal"
    only_new = Keyring([NEW])
    for change in changes:
        assert change.after is not None and change.before is not None
        if "sealed" in change.after:
            found = msgspec.convert(change.after["sealed"]["api_key"], Sealed)
            place = f"{change.kind}/{change.entity_id}/api_key"
            assert json.loads(only_new.open(found, place).reveal()) == {"model": "k", "credential": "k2"}[change.kind]
            assert {**change.after, "sealed": 0} == {**change.before, "sealed": 0}
        else:
            value = change.after["metadata"]["logging"][0]["callback_vars"]["langfuse_secret_key"]
            text = sealing.sealed_of(value)
            assert (
                text is not None
                and only_new.open(text, callbacks.place("langfuse", "langfuse_secret_key")).reveal() == "lf-secret"
            )
        world.fold(change.kind, change.entity_id, change.after, change.action, change.before)
    assert resealing.planned(world.directory, Keyring([NEW, OLD]), names) == ([], failed), "a second run finds nothing"


async def test_the_command_on_a_running_system(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def reseal(*flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {n: v for n, v in os.environ.items() if not n.startswith(("TOLLGATE_", "LITELLM_"))}
        return await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", "services.cli", "reseal", *flags], cwd=ROOT,
            env={**env, "TOLLGATE_NATS_URL": broker.url, **environ}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    async with replica(
        broker,
        "one",
        monkeypatch,
        text=CONFIG.replace("general_settings:\n", "general_settings:\n  store_model_in_db: true\n"),
    ) as one:
        body = {"model_name": "m", "litellm_params": {"model": "openai/x"}, "model_info": {"id": "m"}}
        status, answer, _ = await one.admin(
            "/model/new", {**body, "sealed": {"api_key": sealed("k", "model/m/api_key")}}
        )
        assert status == 200, answer
        keys = {"LITELLM_SALT_KEY": NEW, "TOLLGATE_OLD_SALT_KEYS": OLD}
        dry = await reseal("--dry-run", **keys)
        assert dry.returncode == 0 and "1 of model would be" in dry.stdout and len(await facts_of(broker)) == 1
        done = await reseal(**keys)
        assert done.returncode == 0, done.stderr
        facts = await facts_of(broker)
        assert [(f.kind, f.action, f.actor.user_id) for f in facts[1:]] == [("model", "resealed", "reseal")]
        value = msgspec.convert(facts[-1].after["sealed"]["api_key"], Sealed)
        assert json.loads(Keyring([NEW]).open(value, "model/m/api_key").reveal()) == "k"
        assert (await reseal(LITELLM_SALT_KEY=NEW)).returncode == 0 and len(await facts_of(broker)) == 2
        stuck = await reseal(LITELLM_SALT_KEY="another-salt-key-999")
        assert stuck.returncode == 1 and "which isn't here" in stuck.stderr
        assert (await reseal()).returncode == 1
