"""How reading a configuration fails."""


class ConfigError(Exception):
    """The configuration is wrong; the message says where and why."""


class LeaveOutError(Exception):
    """One entry of `model_list` can't be served; the text says why."""
