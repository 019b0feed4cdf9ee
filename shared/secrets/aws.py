"""AWS Secrets Manager. With `primary_secret_name` all names are fields of one JSON secret."""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.decoding import UNREADABLE
from shared.secrets.aws_client import AwsClient
from shared.secrets.base import Manager, SecretError, check_name
from shared.secrets.settings import KeyManagement

NAME = "aws_secret_manager"


class AwsSecrets:
    name = NAME

    def __init__(self, client: AwsClient, settings: KeyManagement) -> None:
        self._client = client
        self._settings = settings

    async def read(self, name: str) -> str | None:
        check_name(NAME, name)
        primary = self._settings.primary_secret_name
        text = await self._read(primary or name)
        if text is None or primary is None:
            return text
        try:
            found = msgspec.json.decode(text, type=dict[str, Any])
        except UNREADABLE:
            raise SecretError("junk", NAME, primary, "no JSON object") from None
        value = found.get(name)
        return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()

    async def write(self, name: str, value: str) -> None:
        check_name(NAME, name)
        if self._settings.primary_secret_name is not None:
            raise SecretError("not_supported", NAME, name, "primary_secret_name is set")
        if await self._call("put_secret_value", name, SecretId=name, SecretString=value) is not None:
            return
        more: dict[str, Any] = {}
        if self._settings.description:
            more["Description"] = self._settings.description
        if self._settings.kms_key_id:
            more["KmsKeyId"] = self._settings.kms_key_id
        if self._settings.tags:
            more["Tags"] = [{"Key": key, "Value": text} for key, text in self._settings.tags.items()]
        if self._settings.replica_regions:
            more["AddReplicaRegions"] = [{"Region": region} for region in self._settings.replica_regions]
        await self._call("create_secret", name, Name=name, SecretString=value, **more)

    async def delete(self, name: str) -> None:
        check_name(NAME, name)
        await self._call("delete_secret", name, SecretId=name, RecoveryWindowInDays=7)

    async def close(self) -> None:
        await self._client.close()

    async def _read(self, name: str) -> str | None:
        answer = await self._call("get_secret_value", name, SecretId=name)
        if answer is None:
            return None
        if "SecretString" in answer:
            return str(answer["SecretString"])
        try:
            return bytes(answer["SecretBinary"]).decode()
        except (KeyError, UnicodeDecodeError):
            raise SecretError("junk", NAME, name, "no text") from None

    async def _call(self, operation: str, name: str, **arguments: Any) -> Any:
        try:
            return await self._client.call(operation, name, **arguments)
        except SecretError as error:
            if error.code != "denied":
                raise
        await self._client.forget()  # a role's credentials end by themselves: one more try with new ones
        return await self._client.call(operation, name, **arguments)


def make(environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    return AwsSecrets(AwsClient(NAME, "secretsmanager", environ, settings), settings)
