"""What the configuration's lists of callbacks come to: what does nothing is named, and what may
protect and can't be had refuses.
"""

from collections.abc import Mapping

from shared.config import callbacks, hooks
from shared.config.callbacks import CallbackSettings
from shared.config.fields import Reading
from shared.config.schema import LitellmSettings


def judge(litellm: LitellmSettings, said: Mapping[str, CallbackSettings], directory: str, reading: Reading) -> None:
    """A list of callbacks acts only where each of its names does. Raises ConfigError."""
    own = [name for name, each in said.items() if each.endpoint]
    for key in ("callbacks", "success_callback", "failure_callback"):
        given = getattr(litellm, key)
        reasons = callbacks.idle(given, directory, own)
        for name in hooks.named(given) if key == "callbacks" else ():
            why = hooks.why_not(name, directory)
            if why and hooks.protects(name, directory):
                reading.unenforced(name, f"litellm_settings.callbacks: {name} can't be asked about calls: {why}")
            elif not why and litellm.cache and hooks.changes_answers(name, directory):
                because = f"{name} changes answers: no caller may get what it made for another"
                reading.correct("litellm_settings.cache", "no effect", because)
                reading.warn(f"litellm_settings.cache: not used ({because})")
        if reasons:
            reading.correct(f"litellm_settings.{key}", "no effect", "; ".join(reasons))
            for reason in reasons:
                reading.warn(f"litellm_settings.{key}: {reason}")
