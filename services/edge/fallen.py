"""Calls that went on to another model, as LiteLLM's metrics count them: plain numbers until a
scrape.
"""

from collections.abc import Iterable, Iterator

from services.edge.exposition import Family, Sums
from shared.facts import Caller

KINDS_MAX = 500
"""Combinations of labels; what comes after is counted with `other` in each."""
OTHER = "other"
RESTING = "resting"
"""The cause where all deployments of the model that was asked for rest."""
_NAMES = [
    "requested_model", "fallback_model", "hashed_api_key", "api_key_alias", "team", "team_alias", "exception_status",
    "exception_class", "model_id",
]  # fmt: skip


class Fallen:
    def __init__(self) -> None:
        self._good: dict[tuple[str, ...], int] = {}
        self._failed: dict[tuple[str, ...], int] = {}

    def note(self, caller: Caller, requested: str, fallback: str, model_id: str, cause: str, *, is_good: bool) -> None:
        """
        Args:
            requested, fallback: models that are configured.
            cause: why it went on (routing/causes.py).
        """
        counts = self._good if is_good else self._failed
        who = (caller.key_sha256 or "", caller.key_alias or "", caller.team_id or "", caller.team_alias or "")
        labels: tuple[str, ...] = (requested, fallback, *who, "", cause, model_id)
        if labels not in counts and len(counts) >= KINDS_MAX:
            labels = (OTHER,) * len(_NAMES)
        counts[labels] = counts.get(labels, 0) + 1

    def families(self, models: Iterable[str]) -> Iterator[Family]:
        """
        Args:
            models: the names that a label may show.
        """
        shown = frozenset(models)
        for name, text, counts in (
            ("successful", "Calls that another model answered", self._good),
            ("failed", "Calls that another model failed too", self._failed),
        ):
            sums = Sums(f"litellm_deployment_{name}_fallbacks", text, _NAMES)
            for labels, count in list(counts.items()):
                sums.add((*(each if each in shown else OTHER for each in labels[:2]), *labels[2:]), count)
            yield sums
