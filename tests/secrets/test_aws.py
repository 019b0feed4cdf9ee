"""AWS Secrets Manager, KMS and STS, against moto's server."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session

from services.ledger import config
from shared.secrets import KeyManagement, SecretError, environment
from shared.secrets.aws import make as make_secrets
from shared.secrets.aws_kms import make as make_kms
from shared.settings import SettingsError
from tests.support.sigv4 import Checking


def client(service: str, aws: dict[str, str], moto: str) -> Any:
    return Session().create_client(
        service,
        region_name="eu-central-1",
        endpoint_url=moto,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
    )


async def test_secrets_are_read_written_and_deleted(aws: dict[str, str], moto: str) -> None:
    there = client("secretsmanager", aws, moto)
    there.create_secret(Name="OPENAI_API_KEY", SecretString="sk-aws")
    there.create_secret(Name="BINARY", SecretBinary=b"\xff\xfe")
    manager = make_secrets(
        aws, KeyManagement(system="aws_secret_manager", tags={"a": "b"}, description="made by the gateway")
    )
    assert await manager.read("OPENAI_API_KEY") == "sk-aws"
    assert await manager.read("MISSING") is None
    with pytest.raises(SecretError, match="junk"):
        await manager.read("BINARY")
    with pytest.raises(SecretError, match="bad_name"):
        await manager.read("../x")
    await manager.write("litellm/k", "one")
    await manager.write("litellm/k", "two")
    assert await manager.read("litellm/k") == "two"
    assert there.describe_secret(SecretId="litellm/k")["Tags"] == [{"Key": "a", "Value": "b"}]
    await manager.delete("litellm/k")
    await manager.close()


async def test_one_secret_may_hold_all_names(aws: dict[str, str], moto: str) -> None:
    client("secretsmanager", aws, moto).create_secret(Name="all", SecretString=json.dumps({"A": "a", "N": {"x": 1}}))
    manager = make_secrets(aws, KeyManagement(system="aws_secret_manager", primary_secret_name="all"))
    assert await manager.read("A") == "a" and await manager.read("B") is None
    assert await manager.read("N") == '{"x":1}'
    with pytest.raises(SecretError, match="not_supported"):
        await manager.write("A", "b")
    await manager.close()


async def test_a_role_is_assumed(aws: dict[str, str], moto: str) -> None:
    client("secretsmanager", aws, moto).create_secret(Name="BY_ROLE", SecretString="role")
    settings = KeyManagement(
        system="aws_secret_manager", aws_role_name="arn:aws:iam::123456789012:role/gateway", aws_external_id="ext-1"
    )
    manager = make_secrets(aws, settings)
    try:
        # moto keeps secrets apart by account; what counts here is that the role's credentials are
        # used at all
        await manager.read("BY_ROLE")
        assert manager._client._client._request_signer._credentials.token  # type: ignore[attr-defined]
    finally:
        await manager.close()


async def test_every_request_is_signed_as_aws_wants_it(
    moto: str, aws: dict[str, str], encrypt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto takes any signature; what stands before it here takes the right ones: of our key, and of
    the role we assume.
    """
    there = client("secretsmanager", aws, moto)
    there.create_secret(Name="SIGNED", SecretString="sk-signed")
    async with Checking(moto, {"AKIATEST": "secret"}, "eu-central-1") as checking:
        monkeypatch.setenv("AWS_ENDPOINT_URL", checking.address)
        secrets = make_secrets(aws, KeyManagement(system="aws_secret_manager"))
        assert await secrets.read("SIGNED") == "sk-signed"
        await secrets.write("SIGNED_TOO", "one")
        kms = make_kms({**aws, "A": encrypt("plain")}, KeyManagement(system="aws_kms"))
        assert await kms.read("A") == "plain"
        role = KeyManagement(system="aws_secret_manager", aws_role_name="arn:aws:iam::123456789012:role/gateway")
        assumed = make_secrets(aws, role)
        await assumed.read("SIGNED")
        assert checking.refused == [] and set(checking.services) == {"secretsmanager", "kms", "sts"}
        assert len(checking.tokens) == 1, "the role's own credentials signed the last one"
        wrong = make_secrets({**aws, "AWS_SECRET_ACCESS_KEY": "another"}, KeyManagement(system="aws_secret_manager"))
        with pytest.raises(SecretError) as refused:
            await wrong.read("SIGNED")
        assert refused.value.code == "denied" and set(checking.refused) == {"another signature"}
        for manager in (secrets, kms, assumed, wrong):
            await manager.close()


async def test_no_aws_is_an_error_and_not_a_missing_secret(
    monkeypatch: pytest.MonkeyPatch, aws: dict[str, str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    manager = make_secrets(aws, KeyManagement(system="aws_secret_manager"))
    with pytest.raises(SecretError, match="unreachable"):
        await manager.read("A")
    await manager.close()


@pytest.fixture
def encrypt(aws: dict[str, str], moto: str) -> Any:
    kms = client("kms", aws, moto)
    key = kms.create_key()["KeyMetadata"]["KeyId"]

    def ciphertext(text: str) -> str:
        return base64.b64encode(kms.encrypt(KeyId=key, Plaintext=text.encode())["CiphertextBlob"]).decode()

    return ciphertext


async def test_kms_decrypts_what_the_environment_or_the_reference_holds(aws: dict[str, str], encrypt: Any) -> None:
    manager = make_kms({**aws, "A": encrypt("plain a\n"), "E": ""}, KeyManagement(system="aws_kms"))
    assert await manager.read("A") == "plain a"
    assert await manager.read(encrypt("direct")) == "direct"
    assert await manager.read("E") is None
    for junk in ("not base64!", base64.b64encode(b"x" * 7000).decode(), base64.b64encode(b"no ciphertext").decode()):
        with pytest.raises(SecretError) as failed:
            await manager.read(junk)
        assert junk not in str(failed.value)
    await manager.close()


async def test_the_pages_case(aws: dict[str, str], encrypt: Any) -> None:
    """Nothing but LITELLM_SECRET_AWS_KMS_DATABASE_URL is set, and DATABASE_URL is its plaintext."""
    given = {
        **aws,
        "USE_AWS_KMS": "True",
        "LITELLM_SECRET_AWS_KMS_DATABASE_URL": encrypt("postgres://u:p@db/x"),
        "litellm_secret_aws_kms_OTHER": encrypt("other"),
        "KEY": "aws_kms/" + encrypt("sk-key"),
        "DATABASE_URL": "stale",
    }
    found = await environment.load(given)
    assert (found["DATABASE_URL"], found["OTHER"], found["KEY"]) == ("postgres://u:p@db/x", "other", "sk-key")
    assert given["DATABASE_URL"] == "stale"  # ours is a copy: nothing that we start inherits it


async def test_the_ledger_finds_the_plaintext_with_the_file_and_without(
    aws: dict[str, str], encrypt: Any, tmp_path: Path
) -> None:
    given = {**aws, "USE_AWS_KMS": "True", "LITELLM_SECRET_AWS_KMS_DATABASE_URL": encrypt("postgres://u:p@db/x")}
    for general in ("{}", "{database_url: os.environ/DATABASE_URL}"):
        file = tmp_path / "config.yaml"
        file.write_text(f"general_settings: {general}\n")
        assert (await config.read({**given, "TOLLGATE_CONFIG": str(file)})).database_url == "postgres://u:p@db/x"


async def test_without_the_switch_nothing_is_decrypted() -> None:
    given = {"LITELLM_SECRET_AWS_KMS_A": "AQ=="}
    assert await environment.load(given) is given
    assert environment.encrypted({**given, "USE_AWS_KMS": "False"}) == {}


async def test_a_ciphertext_that_kms_refuses_stops_the_start(aws: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"USE_AWS_KMS: aws_kms: .*LITELLM_SECRET_AWS_KMS_A"):
        await environment.load({**aws, "USE_AWS_KMS": "True", "LITELLM_SECRET_AWS_KMS_A": "AQICAHg="})
