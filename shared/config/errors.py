"""How reading a configuration fails."""


class ConfigError(Exception):
    """The configuration is wrong; the message says where and why."""


class LeaveOutError(Exception):
    """One entry of `model_list` can't be served; the text says why."""


class NoCredentialError(LeaveOutError):
    """The entry names a credential that isn't there, and would be served with it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"litellm_params.litellm_credential_name: there is no credential {name!r}")
        self.name = name
