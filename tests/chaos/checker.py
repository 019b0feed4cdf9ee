"""Three records in, counts out. Pure.

Every count is a promise that was broken so many times:

lost             a client saw a whole answer (or a provider's error) and the book has no final row of it, or the rollups
                 have less than the rows
duplicated       more than one final row of one request, or the rollups have more than the rows
unpriced         a call answered by a model with a price has a row without a cost
mischarged       a row's tokens, cost or tags aren't those of the provider's bill and the price list
unended          opened, and neither settled nor expired
unbilled         the provider worked, and the book has no row at all of it
phantom          the book has a success of which the provider knows nothing
called_twice     the provider did the work of one request more than once
wrongly_refused  a good key was told 4xx
wrongly_admitted a key that nobody issued, or that was revoked, reached the provider or got an
answer
internal         a client was told 500
crossed          a client got another answer than its own
alarms           rows of `anomalies`
behind           long after the last fault, journals, stream or open requests still aren't in the book
unrecovered      after everything was healed and the book had caught up, a request wasn't answered whole
overspent        None: budgets aren't enforced yet

Counted apart, as no promise is broken: 503 while something is down; and of `unbilled` what was
opened in the moment in which an edge and its broker were killed together. `opened` is on the wire,
not acknowledged, before the provider is called: one of the two keeps it, unless both die. (What a
client saw complete is acknowledged, and survives this too.)
"""  # noqa: W505

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shared import errors
from tests.chaos.records import BillLine, Book, Call, Records, Row

COUNTS = (
    "lost", "duplicated", "unpriced", "mischarged", "unended", "unbilled", "phantom", "called_twice", "wrongly_refused",
    "wrongly_admitted", "internal", "crossed", "alarms", "behind",
    "unrecovered",
)  # fmt: skip
FINAL_STATUSES = frozenset({502, 504})
"""Answers that Tollgate gives of itself after the provider failed: settled durably before they go
out, as the provider's own errors are.
"""


class Price(NamedTuple):
    """Pico-USD a token."""

    input_picousd: int
    output_picousd: int


class Fault(NamedTuple):
    kind: str
    user: str
    """Empty where no single request is meant."""
    what: str


class Verdict(NamedTuple):
    counts: dict[str, int | None]
    """None: not enforced yet."""
    faults: list[Fault]
    calls: Counter[str]
    """By outcome."""
    unavailable: int
    """503."""
    unbilled_in_double_failure: int

    @property
    def clean(self) -> bool:
        return not self.faults


class _Known(NamedTuple):
    """All three records by request."""

    bill: Mapping[str, list[BillLine]]
    final: Mapping[str, list[Row]]
    """Not provisional and not refused."""
    refused: Mapping[str, list[Row]]
    provisional: Mapping[str, list[Row]]
    open: frozenset[str]


def check(records: Records, prices: Mapping[str, Price]) -> Verdict:
    """`prices` by model name, as the configuration under test has them."""
    known = _by_user(records)
    faults = [fault for call in records.calls for fault in _check_call(call, known)]
    unbilled = list(_unbilled(records, known))
    doubly = [line for line in unbilled if any(begin <= line.at <= end for begin, end in records.double_failures)]
    faults += [
        Fault("unbilled", line.user, "the provider was called, the book knows nothing")
        for line in unbilled
        if line not in doubly
    ]
    faults += _called_twice(known)
    faults += _check_rows(records, known, prices)
    faults += _check_rollups(records.book)
    faults += [Fault("unended", user, "opened, never ended") for user in records.book.open_users]
    faults += [Fault("alarms", "", text) for text in records.book.anomalies]
    if records.behind:
        faults.append(Fault("behind", "", records.behind))
    counts: dict[str, int | None] = dict.fromkeys(COUNTS, 0)
    counts.update(Counter(fault.kind for fault in faults))
    counts["overspent"] = None
    outcomes = Counter[str](call.outcome for call in records.calls)
    unavailable = sum(call.status == 503 and not call.scripted for call in records.calls)
    return Verdict(counts, faults, outcomes, unavailable, len(doubly))


def _by_user(records: Records) -> _Known:
    bill: dict[str, list[BillLine]] = defaultdict(list)
    for line in records.bill:
        bill[line.user].append(line)
    final: dict[str, list[Row]] = defaultdict(list)
    refused: dict[str, list[Row]] = defaultdict(list)
    provisional: dict[str, list[Row]] = defaultdict(list)
    for row in records.book.rows:
        kind = provisional if row.provisional else refused if row.outcome == "refused" else final
        kind[row.user or ""].append(row)
    return _Known(bill, final, refused, provisional, frozenset(records.book.open_users))


def _check_call(call: Call, known: _Known) -> Iterator[Fault]:
    user, final = call.user, known.final.get(call.user, [])
    if call.afterwards and call.key_sha256 is not None and call.outcome != "complete":
        yield Fault("unrecovered", user, f"{call.outcome}, status {call.status}: {call.detail}")
    if not call.whole:
        yield Fault("crossed", user, f"answer isn't its own: {call.detail}")
    if call.key_sha256 is None:
        if call.outcome == "complete" or user in known.bill:
            yield Fault(
                "wrongly_admitted", user, f"outcome {call.outcome}, billed {len(known.bill.get(user, []))} lines"
            )
        return
    if call.status == 500:
        yield Fault("internal", user, call.detail)
    if 400 <= call.status < 500 and not (call.scripted == "status" and call.request_id):
        yield Fault("wrongly_refused", user, f"status {call.status}: {call.detail}")
    if call.outcome == "complete":
        if not final:
            provisional = "only a provisional row" if known.provisional.get(user) else "no row"
            yield Fault("lost", user, f"the client saw it complete; {provisional}")
        elif not any(row.outcome == "success" for row in final):
            yield Fault("mischarged", user, f"complete for the client, {final[0].outcome} in the book")
        if call.request_id and final and all(row.id != call.request_id for row in final):
            yield Fault("lost", user, f"the row of {call.request_id} isn't there")
    elif not final and not known.refused.get(user) and _was_settled_first(call):
        yield Fault("lost", user, f"the client was told {call.status or 'an error'}, which must be in the book first")


def _was_settled_first(call: Call) -> bool:
    """Errors that have a fact: the edge records it before it says them. But for the one that says
    that nothing can be recorded.
    """
    if call.status == 503 and errors.book_unavailable().message in call.detail:
        return False
    if call.outcome == "error_event":
        return True
    return call.outcome == "error" and (call.status in FINAL_STATUSES or bool(call.request_id))


def _unbilled(records: Records, known: _Known) -> Iterator[BillLine]:
    """The first line of each call of which the book has nothing: neither a final nor a provisional
    row, nor an open entry.
    """
    for user, lines in known.bill.items():
        if not (user in known.final or user in known.provisional or user in known.open):
            yield lines[0]


def _called_twice(known: _Known) -> Iterator[Fault]:
    for user, lines in known.bill.items():
        if sum(line.event == "complete" for line in lines) > 1:
            yield Fault("called_twice", user, "complete more than once on the provider's bill")


def _check_rows(records: Records, known: _Known, prices: Mapping[str, Price]) -> Iterator[Fault]:
    calls = {call.user: call for call in records.calls}
    for user, rows in known.final.items():
        if len(rows) > 1:
            yield Fault("duplicated", user, f"{len(rows)} final rows")
    for user, rows in known.provisional.items():
        if len(rows) > 1:
            yield Fault("duplicated", user, f"{len(rows)} provisional rows")
    for user, rows in known.final.items():
        for row in rows:
            price = prices.get(row.model)
            if row.cost_picousd is None and price is not None:
                yield Fault("unpriced", user, f"outcome {row.outcome}")
            if row.outcome == "success" and user not in known.bill:
                yield Fault("phantom", user, "a success the provider knows nothing of")
            wrong = _wrong_charge(row, price, known.bill.get(user, []), calls.get(user))
            if wrong:
                yield Fault("mischarged", user, wrong)


def _wrong_charge(row: Row, price: Price | None, bill: list[BillLine], call: Call | None) -> str | None:
    tokens = row.input_tokens, row.output_tokens
    if price is not None and row.cost_picousd is not None:
        cost = tokens[0] * price.input_picousd + tokens[1] * price.output_picousd
        if row.cost_picousd != cost:
            return f"cost {row.cost_picousd} of {tokens} tokens should be {cost}"
    complete = [(line.prompt_tokens, line.completion_tokens) for line in bill if line.event == "complete"]
    if complete and (row.outcome == "success" or row.usage_source == "provider") and tokens != complete[0]:
        return f"tokens {tokens}, the provider's bill says {complete[0]}"
    if call is None:
        return "no client sent it"
    if call.outcome == "complete" and tokens != (call.prompt_tokens, call.completion_tokens):
        return f"tokens {tokens}, the client's answer had {(call.prompt_tokens, call.completion_tokens)}"
    if row.key_sha256 != call.key_sha256 or set(row.tags) != set(call.tags):
        return f"key {row.key_sha256} tags {row.tags}, sent with {call.key_sha256} {call.tags}"
    return None


def _check_rollups(book: Book) -> Iterator[Fault]:
    """The rollups against the sums of the rows that readers see: final ones, and provisional ones
    that nothing outranks.
    """
    final = {(row.day, row.id) for row in book.rows if not row.provisional}
    sums: dict[tuple[str, str], list[int]] = {}
    for row in book.rows:
        if row.provisional and (row.day, row.id) in final:
            continue
        for place in _places(row):
            kept = sums.setdefault(place, [0, 0, 0, 0])
            for i, amount in enumerate((1, row.input_tokens, row.output_tokens, row.cost_picousd or 0)):
                kept[i] += amount
    rollups = {
        (r.dimension, r.value): [r.requests, r.input_tokens, r.output_tokens, r.spend_picousd]
        for r in book.rollups
        if r.dimension in ("total", "key", "tag", "model", "customer")
    }
    for place in sums.keys() | rollups.keys():
        counted, kept = rollups.get(place, [0, 0, 0, 0]), sums.get(place, [0, 0, 0, 0])
        if counted != kept:
            kind = "duplicated" if counted > kept else "lost"
            user = place[1] if place[0] == "customer" else ""
            text = f"rollup {'/'.join(place)} has {counted} requests, tokens in and out, pico-USD; the rows have {kept}"
            yield Fault(kind, user, text)


def _places(row: Row) -> Iterator[tuple[str, str]]:
    yield "total", ""
    if row.key_sha256 is not None:
        yield "key", row.key_sha256
    if row.outcome == "refused":  # of a refusal only what policy vouches for is counted
        return
    yield "model", row.model
    if row.user is not None:
        yield "customer", row.user
    for tag in set(row.tags):
        yield "tag", tag


def report(verdict: Verdict, records: Records, seed: int, histories_max: int = 3) -> str:
    """The counts; and for the first faults of each kind the seed and what the three records say of
    that request.
    """
    lines = [f"clients: {', '.join(f'{n} {name}' for name, n in sorted(verdict.calls.items()))}"]
    lines[0] += f"; {verdict.unavailable} of the errors were 503"
    reasons = Counter(call.detail for call in records.calls if call.status == 503 and not call.scripted)
    lines += [f"  {count:6} x 503 {reason[:120]}" for reason, count in reasons.most_common(4)]
    lines.append(f"provider: {sum(line.event == 'started' for line in records.bill)} calls started")
    if verdict.unbilled_in_double_failure:
        lines[-1] += (
            f"; {verdict.unbilled_in_double_failure} of them unknown to the book, as edge and broker died together"
        )
    lines.append(
        f"book: {len(records.book.rows)} rows, {sum(r.provisional for r in records.book.rows)} of them provisional"
    )
    lines += [f"  {name:16} {'not enforced yet' if n is None else n}" for name, n in verdict.counts.items()]
    shown: Counter[str] = Counter()
    for fault in verdict.faults:
        shown[fault.kind] += 1
        if shown[fault.kind] <= histories_max:
            lines += [
                "",
                f"{fault.kind.upper()} (seed {seed}) {fault.user}: {fault.what}",
                *_history(fault.user, records),
            ]
    return "\n".join(lines)


def _history(user: str, records: Records) -> list[str]:
    if not user:
        return []
    lines = [f"  client    {call}" for call in records.calls if call.user == user]
    lines += [f"  provider  {line}" for line in records.bill if line.user == user]
    lines += [f"  book      {row}" for row in records.book.rows if row.user == user]
    return lines + ["  book      still open"] * (user in records.book.open_users)
