"""An edge tells of its journal once an episode, and when it is over."""

from services.edge.alerts import Alerts
from services.edge.watch import Watch


class Told(Alerts):
    def __init__(self) -> None:
        super().__init__(None, None, lambda: 0.0)
        self.kinds: list[str] = []

    def tell(self, kind: str, who: str, text: str) -> None:
        assert who == "edge-0" and who in text
        self.kinds.append(kind)


def test_once_when_it_lasts_and_once_when_it_is_over() -> None:
    now, waiting, healthy, told = [0.0], [0.0], [True], Told()
    watch = Watch(told, "edge-0", lambda: waiting[0], lambda: healthy[0], lambda: now[0])
    for second, bytes_waiting, is_healthy, kinds in (
        (0, 0, True, []),
        (5, 9, True, []),
        (10, 9, True, []),
        (12, 0, True, []),
        (13, 9, True, []),
        (23, 9, True, ["journal_in_use"]),
        (30, 9, False, ["journal_in_use"]),
        (40, 9, False, ["journal_in_use", "facts_not_recorded"]),
        (50, 9, False, ["journal_in_use", "facts_not_recorded"]),
        (60, 0, True, ["journal_in_use", "facts_not_recorded", "journal_in_use_over", "facts_not_recorded_over"]),
        (70, 0, True, ["journal_in_use", "facts_not_recorded", "journal_in_use_over", "facts_not_recorded_over"]),
    ):
        now[0], waiting[0], healthy[0] = float(second), float(bytes_waiting), is_healthy
        watch.look()
        assert told.kinds == kinds, second
