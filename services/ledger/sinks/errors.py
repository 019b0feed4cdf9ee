"""How sending to a sink fails."""


class SinkError(Exception):
    """The rows aren't there. The text has no secret in it.

    Args:
        lasting: somebody has to mend something: trying again soon is of no use.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting
