"""Secrets: from a reference in config.yaml to its value, wherever that is kept.

    value.py       Secret, which nobody can print
    base.py        what a manager is, and what it may answer
    references.py  the forms of a reference; pure
    settings.py    key_management_system and key_management_settings of config.yaml
    managers.py    the one table of managers; each is a file of its own, imported when it is used
    resolver.py    the cache in front of them: single flight, deadline, refresh ahead, last known good
    environment.py the environment of a service with AWS KMS ciphertexts decrypted in memory

A service resolves the references that it uses, and no others.
"""  # noqa: W505

from shared.secrets.base import Manager, SecretError
from shared.secrets.resolver import Secrets
from shared.secrets.settings import KeyManagement
from shared.secrets.value import Secret

__all__ = ["KeyManagement", "Manager", "Secret", "SecretError", "Secrets"]
