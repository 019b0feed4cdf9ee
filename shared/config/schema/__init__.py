"""What LiteLLM's config.yaml may say: a typed Struct a section, each field with its meaning and who
acts on it.

Whoever acts on a new key adds its field here, with a docstring and `By("<service>")`; a test finds
the place that reads it. A field that is only `By()` is read and checked, and named as not used,
until somebody acts on it.
"""

from shared.config.schema.entry import EntryInfo, EntryParams
from shared.config.schema.general import GeneralSettings
from shared.config.schema.litellm import LitellmSettings
from shared.config.schema.router import RouterSettings

__all__ = ["EntryInfo", "EntryParams", "GeneralSettings", "LitellmSettings", "RouterSettings"]
