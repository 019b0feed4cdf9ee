"""The account of a call that has gone on to another model."""

from services.edge.account import Account
from services.edge.asked import Asked
from services.edge.parts import Parts
from services.edge.prepared import Heading
from services.edge.series import SERIES
from shared.grant import Candidate


class FallenAccount(Account):
    """Counted as such."""

    __slots__ = ("cause",)

    def __init__(self, parts: Parts, asked: Asked, candidate: Candidate, cause: str) -> None:
        super().__init__(parts, asked, candidate)
        self.cause = cause

    def _count(self, heading: Heading, status: int, error_code: str | None) -> None:
        super()._count(heading, status, error_code)
        SERIES.fallen.note(
            self.asked.permit.grant.caller, self.asked.call.model, self.fallback_to or "", self.candidate.deployment_id, self.cause,
            is_good=self.outcome == "success",
        )  # fmt: skip
