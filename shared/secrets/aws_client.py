"""Clients of AWS, made once a manager: credentials from the environment, a role assumed where one
is named.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from shared.secrets import managers, references
from shared.secrets.base import SecretError
from shared.secrets.settings import KeyManagement

_DENIED = frozenset(
    {
        "AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
        "ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch", "MissingAuthenticationToken", "KMSInvalidStateException",
        "DisabledException",
    }
)  # fmt: skip
MISSING = frozenset({"ResourceNotFoundException", "NotFoundException"})


class AwsClient:
    """One client of one AWS service; `call` is the only way to it."""

    def __init__(self, manager: str, service: str, environ: Mapping[str, str], settings: KeyManagement) -> None:
        self._manager = manager
        self._service = service
        self._environ = environ
        self._settings = settings
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def call(self, operation: str, name: str, **arguments: Any) -> Any:
        """The answer, or None where AWS says that there is no such thing. Raises SecretError."""
        import botocore.exceptions as failures  # noqa: PLC0415 - heavy, and only where AWS is used

        try:
            client = await self._connected()
            return await getattr(client, operation)(**arguments)
        except failures.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in MISSING:
                return None
            kind = "denied" if code in _DENIED else "junk" if code.startswith("Invalid") else "unreachable"
            raise SecretError(kind, self._manager, name, code[:60]) from None
        except (failures.NoCredentialsError, failures.PartialCredentialsError):
            raise SecretError("denied", self._manager, name, "no AWS credentials") from None
        except (failures.BotoCoreError, OSError) as error:
            raise SecretError("unreachable", self._manager, name, type(error).__name__) from None

    async def close(self) -> None:
        await self._stack.aclose()

    async def _connected(self) -> Any:
        if self._client is not None:
            return self._client
        from aiobotocore.config import AioConfig  # noqa: PLC0415
        from aiobotocore.session import AioSession  # noqa: PLC0415

        settings, environ = self._settings, self._environ
        session = AioSession(profile=settings.aws_profile_name)
        options: dict[str, Any] = {
            "region_name": settings.aws_region_name
            or environ.get("AWS_REGION_NAME")
            or environ.get("AWS_REGION")
            or environ.get("AWS_DEFAULT_REGION"),
            "config": AioConfig(connect_timeout=3, read_timeout=5, retries={"max_attempts": 2, "mode": "standard"}),
        }
        keys = {
            "aws_access_key_id": environ.get("AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": environ.get("AWS_SECRET_ACCESS_KEY"),
            "aws_session_token": environ.get("AWS_SESSION_TOKEN"),
        }
        if keys["aws_access_key_id"] and keys["aws_secret_access_key"]:
            options.update({name: value for name, value in keys.items() if value})
        if settings.aws_role_name:
            options.update(await self._assume(session, dict(options)))
        self._client = await self._stack.enter_async_context(session.create_client(self._service, **options))
        return self._client

    async def _assume(self, session: Any, options: dict[str, Any]) -> dict[str, str]:
        """The credentials of the role, which AWS ends after an hour: the manager is made anew then
        (`denied` ends a client).
        """
        settings = self._settings
        asked = {"RoleArn": settings.aws_role_name, "RoleSessionName": settings.aws_session_name or "tollgate"}
        if settings.aws_sts_endpoint:
            options["endpoint_url"] = settings.aws_sts_endpoint
        async with session.create_client("sts", **options) as sts:
            if settings.aws_web_identity_token:
                asked["WebIdentityToken"] = await self._identity(settings.aws_web_identity_token)
                answer = await sts.assume_role_with_web_identity(**asked)
            else:
                if settings.aws_external_id:
                    asked["ExternalId"] = settings.aws_external_id
                answer = await sts.assume_role(**asked)
        found = answer["Credentials"]
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }

    async def _identity(self, text: str) -> str:
        """The token, or what an `oidc/...` reference means at this moment. Raises SecretError."""
        reference = references.parse(text)
        if reference is None or reference.manager != "oidc":
            return text
        manager = managers.make(reference.manager, self._environ, self._settings)
        try:
            found = await manager.read(reference.name)
        finally:
            await manager.close()
        if not found:
            raise SecretError("denied", self._manager, text, "no web identity token")
        return found

    async def forget(self) -> None:
        """Log in again at the next call: a role's credentials have ended, or were changed."""
        self._client = None
        await self._stack.aclose()
        self._stack = AsyncExitStack()
