"""`tollgate import-litellm`: a LiteLLM database becomes facts; each key goes on working, a second
run writes nothing.
"""

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import nacl.secret
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.policy.directory import Directory
from services.policy.importing import plan, rows, run
from services.policy.importing.secrets import Secrets
from services.policy.offline import Stopped
from shared import bus, sealing, streams, subjects
from shared.entities import callbacks, mapping_id
from shared.errors import RefusedError
from shared.facts import ControlFact
from shared.grant import Denial, Grant
from shared.ids import digest_key
from shared.sealing import Keyring, Sealed
from tests.ledger.servers import Postgres
from tests.policy.conftest import replica
from tests.policy.test_policy_live import facts_of
from tests.support.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = (ROOT / "tests/policy/litellm_schema.sql").read_text()


def raw(name: str) -> str:
    return f"sk-{name}-of-litellm-0123"


SALT = "sk-the-salt-of-litellm"
OURS = "the salt key of this gateway"


def encrypted(value: str, *, salt: str = SALT, gcm: bool = False) -> str:
    """As LiteLLM keeps it."""
    key = hashlib.sha256(salt.encode()).digest()
    if gcm:
        nonce = os.urandom(12)
        return "v2:gcm:" + base64.urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, value.encode(), None)).decode()
    return base64.urlsafe_b64encode(nacl.secret.SecretBox(key).encrypt(value.encode())).decode()


def logged(**variables: str) -> str:
    return json.dumps(
        {"logging": [{"callback_name": "langfuse", "callback_type": "success", "callback_vars": variables}]}
    )


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("LiteLLM_BudgetTable", {"budget_id": "b", "max_budget": 12.5, "budget_duration": "30d", "rpm_limit": 60}),
    ("LiteLLM_BudgetTable", {"budget_id": "bm", "max_budget": 1}),
    ("LiteLLM_ModelTable", {"id": 1, "aliases": '{"chat": "gpt"}'}),
    ("LiteLLM_AccessGroupTable", {"access_group_id": "5-6", "access_group_name": "small", "access_model_names": ["mini"]}),
    ("LiteLLM_OrganizationMembership", {"user_id": "u", "organization_id": "o", "user_role": "org_admin"}),
    ("LiteLLM_TeamMembership", {"user_id": "u", "team_id": "t", "budget_id": "bm"}),
    ("LiteLLM_OrganizationTable", {"organization_id": "o", "organization_alias": "Org", "budget_id": "b", "models": ["gpt"], "spend": 3}),
    ("LiteLLM_TeamTable", {
        "team_id": "t", "team_alias": "Team", "organization_id": "o", "model_id": 1, "spend": 1.5, "models": ["gpt", "chat"],
        "members_with_roles": '[{"role": "admin", "user_id": "u", "user_email": null}]', "max_budget": 100,
        "metadata": json.dumps({"tags": ["team-tag"], **json.loads(logged(langfuse_secret_key=encrypted("sk-lf-canary-of-team", gcm=True)))}),
    }),
    ("LiteLLM_ProjectTable", {"project_id": "p", "team_id": "t", "description": "a project", "budget_id": "b", "created_by": "x"}),
    ("LiteLLM_UserTable", {"user_id": "u", "user_email": "u@example.com", "user_role": "internal_user", "teams": ["t"], "spend": 0.1}),
    ("LiteLLM_UserTable", {"user_id": "odd", "user_role": "app_owner", "password": "scrypt:secret-hash"}),
    ("LiteLLM_EndUserTable", {"user_id": "seen", "spend": 0.25}),
    ("LiteLLM_EndUserTable", {"user_id": "blocked", "blocked": True, "budget_id": "b"}),
    ("LiteLLM_TagTable", {"tag_name": "prod", "spend": 7.0, "budget_id": "b"}),
    ("LiteLLM_VerificationToken", {
        "token": digest_key(raw("a")), "key_name": "sk-...0123", "key_alias": "alias-a", "team_id": "t", "user_id": "u", "spend": 0.3,
        "total_spend": 2.000001, "max_budget": 5, "created_by": "u", "metadata": '{"tags": ["k"], "guardrails": ["banned_keywords"]}',
        "permissions": '{"hide_secrets": true}', "tpm_limit": 1000,
    }),
    ("LiteLLM_VerificationToken", {
        "token": digest_key(raw("b")), "key_alias": "alias-a", "blocked": True, "budget_id": "b",
        "metadata": logged(
            langfuse_secret_key="sk-lf-canary", langfuse_public_key=encrypted("pk-lf", salt="sk-another-one"), langfuse_host="h"
        ),
    }),
    ("LiteLLM_VerificationToken", {"token": digest_key(raw("c")), "expires": "2020-01-01 00:00:00"}),
    ("LiteLLM_VerificationToken", {"token": digest_key(raw("d")), "expires": "2099-01-01 00:00:00", "allowed_routes": ["/embeddings"]}),
    ("LiteLLM_VerificationToken", {"token": raw("old"), "models": ["gpt", "gone-model"]}),
    ("LiteLLM_JWTKeyMapping", {
        "id": "5ed5a9d0", "jwt_issuer": "", "jwt_claim_name": "azp", "jwt_claim_value": "client", "token": digest_key(raw("a")),
        "is_active": True, "description": None,
    }),
    ("LiteLLM_VerificationToken", {"token": digest_key(raw("ui")), "team_id": "litellm-dashboard"}),
    ("LiteLLM_VerificationToken", {"token": digest_key(raw("grouped")), "access_group_ids": ["5-6"]}),
    ("LiteLLM_VerificationToken", {"token": digest_key(raw("lost")), "access_group_ids": ["7-8"]}),
    ("LiteLLM_VerificationToken", {"token": "no-digest"}),
    ("LiteLLM_VerificationToken", {"token": digest_key(raw("e")), "aliases": '{"x": 1}'}),
    ("LiteLLM_VerificationToken", {"token": digest_key(raw("f")), "auto_rotate": True, "rotation_interval": "30d", "rotation_count": 2}),
    ("LiteLLM_DeprecatedVerificationToken", {
        "id": "1", "token": digest_key(raw("was-a")), "active_token_id": digest_key(raw("a")), "revoke_at": "2099-01-01 00:00:00",
    }),
    ("LiteLLM_DeprecatedVerificationToken", {
        "id": "2", "token": digest_key(raw("over")), "active_token_id": digest_key(raw("a")), "revoke_at": "2020-01-01 00:00:00",
    }),
    ("LiteLLM_CredentialsTable", {
        "credential_id": "1", "credential_name": "openai", "credential_info": '{"custom_llm_provider": "openai"}',
        "credential_values": json.dumps({"api_key": encrypted("sk-canary-of-openai"), "api_base": encrypted("https://api.example.com/v1")}),
    }),
    ("LiteLLM_ProxyModelTable", {
        "model_id": "m1", "model_name": "stored", "blocked": True, "model_info": '{"id": "m1", "db_model": true, "mode": "chat"}',
        "litellm_params": json.dumps({"model": encrypted("openai/gpt-4o"), "api_key": encrypted("sk-canary-of-model", gcm=True), "rpm": 5}),
    }),
    ("LiteLLM_ProxyModelTable", {
        "model_id": "m2", "model_name": "foreign", "litellm_params": json.dumps({"model": encrypted("openai/gpt-4o", salt="sk-another-one")}),
    }),
    ("LiteLLM_ProxyModelTable", {
        "model_id": "m3", "model_name": "refers",
        "litellm_params": json.dumps({"model": encrypted("openai/x"), "api_key": encrypted("os.environ/KEY")}),
    }),
    ("LiteLLM_GuardrailsTable", {"guardrail_id": "g", "guardrail_name": "g"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
async def litellm(postgres: Postgres) -> AsyncIterator[str]:
    url = await postgres.new_database()
    connection = await asyncpg.connect(url)
    await connection.execute(SCHEMA)
    await fill(connection)
    await connection.close()
    yield url
    await postgres.drop_database(url)


async def fill(connection: Any) -> None:
    from datetime import datetime

    for table, row in ROWS:
        values = [datetime.fromisoformat(v) if n in ("expires", "revoke_at") else v for n, v in row.items()]
        names, places = ", ".join(row), ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({places})', *values)


async def tollgate(broker: Broker, url: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services.cli", "import-litellm", "--database-url", url, *flags],
        cwd=ROOT,
        env={**os.environ, "TOLLGATE_NATS_URL": broker.url, "LITELLM_SALT_KEY": OURS, "IMPORT_LITELLM_SALT_KEY": SALT},
        capture_output=True,
        text=True,
        timeout=60,
    )


def by_entity(facts: list[ControlFact]) -> dict[tuple[str, str], ControlFact]:
    return {(fact.kind, fact.entity_id): fact for fact in facts}


async def test_everything_comes_over_and_every_key_works(
    broker: Broker, litellm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(broker, "one", monkeypatch) as one:
        dry = await tollgate(broker, litellm, "--dry-run")
        assert await facts_of(broker) == [], dry.stdout
        done = await tollgate(broker, litellm)
        assert done.returncode == 1, "rows were refused" + done.stderr
        said = [[line for line in run_.stdout.splitlines() if line.startswith("  ")] for run_ in (dry, done)]
        assert said[0] == said[1], "a dry run says the same"
        text = done.stdout
        for line in (
            "no-digest: refused", f"{digest_key(raw('e'))[:12]}: refused", "its alias 'alias-a' is another key's",
            "langfuse_public_key isn't taken over: it can't be decrypted", "foreign: refused: litellm_params.model can't be decrypted",
            "refers: refused: litellm_params.api_key names a variable", "its role 'app_owner' is none of ours",
            "LiteLLM_GuardrailsTable: 1 rows",
        ):  # fmt: skip
            assert line in text, text
        facts = await facts_of(broker)
        seq = len(facts)
        found = by_entity(facts)
        for name in ("a", "old", "f", "was-a"):
            assert isinstance(await one.decide(raw(name), min_seq=seq), Grant), name
        for name, code in (
            ("b", "blocked_key"),
            ("c", "expired_key"),
            ("d", "key_route_not_allowed"),
            ("ui", "unknown_key"),
            ("over", "unknown_key"),
        ):
            denial = await one.decide(raw(name), min_seq=seq)
            assert isinstance(denial, Denial) and denial.refusal.code == code, (name, denial)
        for name, refused in (("grouped", ["gpt"]), ("lost", ["mini", "gpt"])):
            for asked in ("mini", "gpt"):
                limited = await one.decide(raw(name), model=asked, min_seq=seq)
                assert isinstance(limited, Denial) == (asked in refused), "its access groups limit it"
        grant = await one.decide(raw("a"), model="chat", min_seq=seq)
        assert isinstance(grant, Grant) and grant.tags == ["k", "team-tag"], "its team's alias, its tags and its team's"
        assert grant.caller.organization_id == "o" and [ref.name for ref in grant.guardrails] == ["banned_keywords"]
        key = found["key", digest_key(raw("a"))].after
        assert key["max_budget_picousd"] == 5 * 10**12 and key["permissions"] == {"hide_secrets": True}
        assert key["extra"]["tpm_limit"] == 1000 and "spend" not in key["extra"]
        other = found["key", digest_key(raw("b"))].after
        assert other["key_alias"] is None and other["metadata"]["litellm_key_alias"] == "alias-a"
        assert other["extra"]["budget_id"] == "b" and other["max_budget_picousd"] is None
        budget = found["budget", "b"].after
        assert budget["max_budget_picousd"] == 125 * 10**11 and budget["extra"]["rpm_limit"] == 60
        assert found["tag", "prod"].after["extra"] == {"budget_id": "b"}
        mapping = found["jwt_mapping", mapping_id(None, "azp", "client")].after
        assert (mapping["token"], mapping["is_active"]) == (digest_key(raw("a")), True)
        opened = Keyring([OURS])

        def secret(metadata: dict[str, Any]) -> str:
            text = metadata["logging"][0]["callback_vars"]["langfuse_secret_key"]
            return opened.open(sealing.sealed_of(text), callbacks.place("langfuse", "langfuse_secret_key")).reveal()

        assert (
            secret(other["metadata"]) == "sk-lf-canary"
            and secret(found["team", "t"].after["metadata"]) == "sk-lf-canary-of-team"
        )
        assert other["metadata"]["logging"][0]["callback_vars"]["langfuse_host"] == "h"
        model = found["model", "m1"].after
        assert model["litellm_params"] == {"model": "openai/gpt-4o", "rpm": 5} and model["blocked"] is True
        assert model["model_info"] == {"mode": "chat"}
        sealed = msgspec.convert(model["sealed"]["api_key"], Sealed)
        assert opened.open(sealed, "model/m1/api_key").reveal() == '"sk-canary-of-model"'
        credential = found["credential", "openai"].after
        assert credential["credential_values"] == {"api_base": "https://api.example.com/v1"} and set(
            credential["sealed"]
        ) == {"api_key"}
        assert found["organization", "o"].after["members"] == [{"user_id": "u", "user_role": "org_admin"}]
        team = found["team", "t"].after
        assert team["members_with_roles"] == [{"role": "admin", "user_id": "u", "max_budget_in_team": 1}]
        assert found["project", "p"].after["extra"]["description"] == "a project"
        assert ("customer", "seen") not in found and found["customer", "blocked"].after["blocked"] is True
        assert found["key", digest_key(raw("f"))].after["extra"]["rotation_count"] == 2
        balances = {
            f.entity_id: (f.after["picousd"], f.after["window_picousd"]) for f in facts if f.kind == "opening_balance"
        }
        assert balances == {
            f"key:{digest_key(raw('a'))}": (2_000_001_000_000, 300_000_000_000), "team:t": (15 * 10**11, 15 * 10**11),
            "organization:o": (3 * 10**12, 3 * 10**12), "user:u": (10**11, 10**11), "customer:seen": (25 * 10**10, 25 * 10**10),
            "tag:prod": (7 * 10**12, 7 * 10**12),
        }  # fmt: skip
        assert {(f.action, f.actor.user_id) for f in facts} == {("imported", "import-litellm")}
        whole = repr(facts)
        assert "canary" not in whole and "secret-hash" not in whole and raw("old") not in whole
        assert raw("old") not in text + done.stderr + dry.stdout

        status, _, reply = await one.admin("/key/update", {"key": digest_key(raw("f")), "metadata": {"x": 1}})
        assert status == 200, "what was imported can be changed"
        assert (await one.admin("/key/delete", {"keys": [digest_key(raw("d"))]}))[0] == 200
        again = await tollgate(broker, litellm)
        assert len(await facts_of(broker)) == reply.control_seq + 1, again.stdout
        assert "it differs in metadata" in again.stdout and "was deleted here, and stays so" in again.stdout
        assert " new" not in again.stdout
        overwritten = await tollgate(broker, litellm, "--overwrite")
        assert "is overwritten in metadata" in overwritten.stdout
        assert len(await facts_of(broker)) == reply.control_seq + 1 + 2


async def test_stopped_anywhere_it_goes_on(broker: Broker, litellm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from services.cli.import_litellm import write_rows

    lines = io.BytesIO()
    await write_rows(litellm, lines)
    whole = lines.getvalue()
    monkeypatch.setattr(run, "CHUNK_ROWS", 1)
    secrets = Secrets([SALT], Keyring([OURS]))
    client = await bus.connect("policy", broker.url)
    await streams.ensure_control(client, 0)
    try:
        cut = len(whole) // 3
        for end in (cut, 2 * cut):
            with pytest.raises(Stopped):
                await run.import_rows(client, io.BytesIO(whole[:end]), secrets)
        before = len(await facts_of(broker))
        assert before > 0
        await run.import_rows(client, io.BytesIO(whole), secrets)
        facts = await facts_of(broker)
        assert len(facts) > before
        assert len(by_entity(facts)) == len(facts), "nothing was written twice"
        await run.import_rows(client, io.BytesIO(whole), secrets)
        assert len(await facts_of(broker)) == len(facts)
        assert (await streams.state(client, subjects.CONTROL_STREAM)).last_seq == len(facts)
    finally:
        await bus.close(client)


def test_a_callbacks_secret_that_nobody_can_seal_refuses_its_row_wherever_it_stands() -> None:
    row = {"user_id": "u", "metadata": json.loads(logged(langfuse_secret_key="sk-lf-canary"))}
    found = rows.read(rows.Source(Secrets()), "LiteLLM_UserTable", row, 0)
    with pytest.raises(RefusedError) as refused:
        plan.planned(Directory(), Secrets(), found, "u", set(), plan.Tally(), overwrite=False)
    assert refused.value.refusal.code == "sealing_unavailable"


async def test_a_database_that_is_none_is_a_sentence_without_its_password(broker: Broker, postgres: Postgres) -> None:
    url = await postgres.new_database()
    done = await tollgate(broker, url)
    assert done.returncode == 2 and "is this LiteLLM's database?" in done.stderr
    done = await tollgate(broker, "postgresql://u:canary-password@127.0.0.1:1/x")
    assert done.returncode == 2 and "can't be reached" in done.stderr
    assert "canary" not in done.stderr + done.stdout and "Traceback" not in done.stderr
