"""`general_settings.custom_auth`: a Python function of the operator's that says who calls. What is
to be run, and whether its file can be.

The file is looked at here, by every service that reads the configuration; only the edge runs it. It
protects: where it can't be run the start is refused.
"""

from msgspec import Struct

from shared import stand_ins
from shared.config import hooks
from shared.config.fields import Reading
from shared.config.schema.general import GeneralSettings

NAME = "custom_auth"


class OwnAuth(Struct, frozen=True):
    function: str
    """`module.function`, the file beside the configuration."""
    falls_through: bool
    timeout_s: float


def of(general: GeneralSettings, directory: str) -> OwnAuth | None:
    """None: no function is asked."""
    named, settings = general.custom_auth, general.custom_auth_settings
    if not named or not settings.asked or why_not(named, directory):
        return None
    return OwnAuth(named, settings.mode == "auto", settings.timeout)


def check(general: GeneralSettings, directory: str, reading: Reading) -> None:
    """Raises ConfigError for a function that can't be asked, unless the operator said that it may
    be left undone.
    """
    if not general.custom_auth or not general.custom_auth_settings.asked:
        return
    why = why_not(general.custom_auth, directory)
    if why:
        reading.correct(f"general_settings.{NAME}", "no effect", why)
        reading.unenforced(NAME, f"general_settings.{NAME} can't be enforced: {general.custom_auth}: {why}")


def why_not(name: str, directory: str) -> str:
    """Why a function can't be asked who calls; empty: it can."""
    tree = hooks.tree_of(name, directory)
    if isinstance(tree, str):
        return tree
    missing = stand_ins.missing(tree)
    if missing:
        return f"its file imports {missing}, which isn't here: see docs/identity.md for what is"
    attribute = name.rpartition(".")[2]
    return "" if attribute in hooks.names_of(tree) else f"its file has no {attribute}"
