"""LiteLLM's `config.yaml`, read as it is.

    reading.py        the file → a tree of plain values, bounded
    references.py     `os.environ/NAME` and `${NAME}` in it
    schema/           what each section may say, typed, and who acts on it
    without_effect.py what LiteLLM knows and we don't act on, with the reason
    fields.py         a section → its Struct, with a word about every key
    upstream.py       whose a model is, its address, its key
    deployments.py    an entry of `model_list` → where a call may go, or why it is left out
    providers.py      LiteLLM's providers as data: wire, address, variables
    opening.py        who may serve without a strong master key
    load.py           all of it

What a service doesn't need isn't asked of its environment: `load(..., service="policy")` doesn't
mind that a provider's key is missing. Wrong values are refused with a sentence that says where
(`ConfigError`); one model that can't be served is left out, with the reason; what protects is never
left out. Values that are secrets come out as `Secret`, whose repr never shows them.
"""

from shared.config.deployments import Deployment, LeftOut
from shared.config.errors import ConfigError
from shared.config.fields import Key
from shared.config.load import Config, load, parse
from shared.secrets.value import Secret

__all__ = ["Config", "ConfigError", "Deployment", "Key", "LeftOut", "Secret", "load", "parse"]
