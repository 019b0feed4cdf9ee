"""How reading a configuration fails."""


class ConfigError(Exception):
    """The configuration is wrong; the message says where and why."""
