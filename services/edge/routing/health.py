"""What this edge knows of its deployments: failures and cooldowns, latencies, load. Plain numbers;
the clock is passed in.

A deployment rests (cools down) when it failed in a way that is its own fault. Every edge hears of
it over the bus (rests.py). After its rest one call tries it, and the others go elsewhere until that
one is answered: so a dead deployment costs an edge one failed attempt a rest, however many calls
come, and however long it takes to fail.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from services.edge.routing.causes import CAUSES
from shared.ids import DeploymentId

WINDOW_S: Final = 60.0
"""Failures, tokens and requests are counted by windows of this."""
FAILED_SHARE: Final = 0.5
FAILED_CALLS_MIN: Final = 5
"""More than this share of at least so many calls in a window: it rests, whatever `allowed_fails`
says.
"""
REST_S_MAX: Final = 300.0
"""Whatever a provider's Retry-After says."""
SMOOTHING: Final = 0.2
"""Weight of the newest latency in the mean."""
LATENCY_S: Final = 3600.0
"""For which a latency says something; LiteLLM's."""
LATENCY_BUFFER: Final = 0.1
"""Share of a latency within which another is the same."""
DEPLOYMENTS_MAX: Final = 10_000


class State:
    """Of one deployment."""

    __slots__ = (
        "calls", "fails", "fails_of", "latency_s", "no_stream_options", "resting_until", "rests", "running", "tokens", "untried", "window",
    )  # fmt: skip

    def __init__(self) -> None:
        self.resting_until = 0.0
        self.window = -WINDOW_S
        """When the present window began."""
        self.calls = self.fails = self.tokens = self.running = 0
        self.latency_s: float | None = None
        """Mean time to the answer's head, the newest ones weighing most; None: nobody has been
        answered yet.
        """
        self.fails_of: dict[str, int] = {}
        """By cause, where `allowed_fails_policy` counts them apart."""
        self.rests = 0
        """How often this edge found that it has to rest."""
        self.untried = False
        """Its rest is over, and nobody has been answered since."""
        self.no_stream_options = False
        """It refused `stream_options` that only we had added: not sent any more."""

    def answered(self, latency_s: float) -> None:
        self.untried = False
        before = self.latency_s
        self.latency_s = latency_s if before is None else before + SMOOTHING * (latency_s - before)

    def roll(self, now: float) -> None:
        if now - self.window >= WINDOW_S:
            self.window = now
            self.calls = self.fails = self.tokens = 0
            if self.fails_of:
                self.fails_of = {}


class Health:
    """
    Args:
        cooldown_s: how long a deployment rests; 0: never.
        allowed_fails: failures in a minute that it may have without resting.
        by_cause: the same of some causes, each counted apart.
        latency_ttl_s, latency_buffer: of `latency-based-routing`.
    """

    def __init__(
        self,
        *,
        cooldown_s: float = 5.0,
        allowed_fails: int = 3,
        by_cause: Mapping[str, int] | None = None,
        latency_ttl_s: float = LATENCY_S,
        latency_buffer: float = LATENCY_BUFFER,
    ) -> None:
        self.latency_ttl_s, self.latency_buffer = max(latency_ttl_s, WINDOW_S), latency_buffer
        self._by_cause = dict(by_cause or {})
        self._cooldown_s = cooldown_s
        self._allowed_fails = allowed_fails
        self._states: dict[DeploymentId, State] = {}

    def set_terms(self, other: "Health") -> None:
        """Cool down as `other` does, and forget nothing."""
        self._cooldown_s, self._allowed_fails = other._cooldown_s, other._allowed_fails
        self._by_cause = other._by_cause
        self.latency_ttl_s, self.latency_buffer = other.latency_ttl_s, other.latency_buffer

    def of(self, deployment: DeploymentId) -> State:
        state = self._states.get(deployment)
        if state is None:
            if len(self._states) >= DEPLOYMENTS_MAX:
                del self._states[next(iter(self._states))]
            state = self._states[deployment] = State()
        return state

    def started(self, deployment: DeploymentId, now: float) -> State:
        """Whoever started it takes one off `running` at its end."""
        state = self.of(deployment)
        if now - state.window >= WINDOW_S:
            state.roll(now)
        state.calls += 1
        state.running += 1
        return state

    def ended(self, deployment: DeploymentId) -> None:
        self.of(deployment).running -= 1

    def answered(self, deployment: DeploymentId, latency_s: float) -> None:
        self.of(deployment).answered(latency_s)

    def used(self, deployment: DeploymentId, tokens: int) -> None:
        self.of(deployment).tokens += tokens

    def failed(
        self,
        deployment: DeploymentId,
        cause: str,
        now: float,
        *,
        cooldown_s: float | None = None,
        retry_after_s: float | None = None,
    ) -> float | None:
        """Seconds the deployment rests from now on; None: it doesn't, or does so already.

        Args:
            cooldown_s: the deployment's own setting.
            retry_after_s: what the provider asked for.
        """
        cools = CAUSES[cause].cools
        state = self.of(deployment)
        if not cools:
            return None
        state.fails += 1
        allowed = self._by_cause.get(cause)
        if allowed is not None:
            state.fails_of = {**state.fails_of, cause: state.fails_of.get(cause, 0) + 1}
        rest_s = self._cooldown_s if cooldown_s is None else cooldown_s
        if rest_s <= 0 or state.resting_until > now:
            return None
        if state.untried:
            pass  # it was given another chance, and that is what came of it
        elif allowed is not None:
            if state.fails_of[cause] <= allowed:
                return None
        else:
            many = state.fails > self._allowed_fails or (
                state.calls >= FAILED_CALLS_MIN and state.fails > FAILED_SHARE * state.calls
            )
            if cools == "counted" and not many:
                return None
        rest_s = min(max(rest_s, retry_after_s or 0.0), REST_S_MAX)
        state.resting_until = now + rest_s
        state.untried = True
        state.rests += 1
        return rest_s

    def rest(self, deployment: DeploymentId, seconds: float, now: float) -> None:
        """Another edge says so."""
        state = self.of(deployment)
        state.resting_until = max(state.resting_until, now + min(seconds, REST_S_MAX))
        state.untried = True

    def is_resting(self, deployment: DeploymentId, now: float) -> bool:
        state = self._states.get(deployment)
        return state is not None and (state.resting_until > now or (state.untried and state.running > 0))

    def rest_left_s(self, deployment: DeploymentId, now: float) -> float:
        """How long it still rests; 0: it doesn't."""
        state = self._states.get(deployment)
        return 0.0 if state is None else max(0.0, state.resting_until - now)

    def last_minute(self, deployment: DeploymentId, now: float) -> tuple[int, int, float | None]:
        """Calls and failures of the present window, and the mean latency; an older window says
        nothing.
        """
        state = self._states.get(deployment)
        if state is None:
            return 0, 0, None
        fresh = now - state.window < WINDOW_S
        return (state.calls, state.fails, state.latency_s) if fresh else (0, 0, state.latency_s)

    def rests(self, deployment: DeploymentId) -> int:
        state = self._states.get(deployment)
        return 0 if state is None else state.rests

    def resting(self, deployments: Iterable[DeploymentId], now: float) -> list[DeploymentId]:
        return [deployment for deployment in deployments if self.is_resting(deployment, now)]


class RetryBudget:
    """Attempts beyond a call's first: at most a share of the calls of the last seconds, or a
    handful where there are few.

    What is down isn't made worse by everybody asking again.
    """

    def __init__(self, *, share: float = 0.1, window_s: float = 10.0, at_least: int = 10) -> None:
        self._share = share
        self._window_s = window_s
        self._at_least = at_least
        self._slots: deque[tuple[float, int, int]] = deque()
        """(when it began, calls, retries), a second each."""
        self._began, self._calls, self._retries = -1.0, 0, 0
        """The present one."""

    def call(self, now: float) -> None:
        if now - self._began >= 1.0:
            self._next(now)
        self._calls += 1

    def take(self, now: float) -> bool:
        """Whether one more attempt may be made; then it counts."""
        if now - self._began >= 1.0:
            self._next(now)
        all_calls = self._calls + sum(slot[1] for slot in self._slots)
        all_retries = self._retries + sum(slot[2] for slot in self._slots)
        if all_retries >= max(self._at_least, self._share * all_calls):
            return False
        self._retries += 1
        return True

    def _next(self, now: float) -> None:
        if self._calls or self._retries:
            self._slots.append((self._began, self._calls, self._retries))
        self._began, self._calls, self._retries = now, 0, 0
        while self._slots and now - self._slots[0][0] >= self._window_s:
            self._slots.popleft()


Random = Callable[[], float]
"""Uniform in [0, 1)."""
