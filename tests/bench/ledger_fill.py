# ruff: noqa: E501 - SQL reads better in long lines; every value in it is ours
"""A book with a year of calls in it, made by PostgreSQL itself: what ledger_query and pages ask.

365 days, 5,000 tags, 500 teams with 4 keys and 10 of 50 models and 40 of the tags each, 2 tags a
call, the busiest teams a hundred times as busy as the quietest; request_log, rollup and cube hold
the same calls, and audit_log as many changes as one likes.
"""

import asyncio
import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

from services.ledger import latency
from services.ledger.cube import TABLES, Cube
from services.ledger.database import Database
from tests.bench.machine import cpu_s

DAYS = 365
CALLS = """
CREATE UNLOGGED TABLE bench_calls AS
SELECT n, $2::date - 1 - (n / $3)::integer AS day, (hashint8(n * 7) & 1048575) % 24 AS hour, team, (team * 4 + (n / 13) % 4)::integer AS key,
    ((team * 7 + (hashint8(n * 3) & 1048575) % 10) % 50)::integer AS model, (team * 10 + (hashint8(n * 5) & 1048575) % 20) % 5000 AS tag,
    (team * 10 + 20 + (hashint8(n * 11) & 1048575) % 20) % 5000 AS other_tag,
    (100 + n % 3000)::integer AS input, (1 + n % 900)::integer AS output, (100 + n % 3000) * 150000::bigint + (1 + n % 900) * 600000::bigint AS cost
FROM (SELECT n, floor(500 * power((hashint8(n) & 1048575) / 1048576::float8, 2.5))::integer AS team FROM generate_series(0, $1::bigint - 1) AS n) AS s
"""
"""$1 calls, $2 the day after the last, $3 calls a day. They lie in the order of their days."""
_ID = "lpad(to_hex((extract(epoch FROM day) * 1000)::bigint + hour * 3600000 + n % 3600000), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0')"
_KEY = "lpad(to_hex(key), 64, '0')"
LOG = f"""
INSERT INTO request_log (day, id, provisional, outcome, status, at_ms, ended_at_ms, edge_id, key_sha256, key_alias, team_id, team_alias, user_id,
    role, call_type, route, model, deployment_id, provider, upstream_model, response_id, stream, attempts, input_tokens, output_tokens,
    cached_tokens, cache_write_tokens, reasoning_tokens, usage_source, cost_picousd, price, tags, spend_logs_metadata, guardrails,
    guardrail_outcomes, fact_sha256, shard, batch)
SELECT day, ({_ID})::uuid, false, 'success', 200, (extract(epoch FROM day) * 1000)::bigint + hour * 3600000,
    (extract(epoch FROM day) * 1000)::bigint + hour * 3600000 + 200 + (hashint8(n * 13) & 1048575) % 4000, 'edge', {_KEY}, 'key-' || key, 'team-' || team,
    'Team ' || team, 'user-' || key % 800, 'internal_user', 'acompletion', '/chat/completions', 'model-' || model, 'deployment-' || model,
    'openai', 'model-' || model, 'chatcmpl-' || n, false, 1, input, output, 0, 0, 0, 'provider', cost, NULL,
    ARRAY['tag-' || tag, 'tag-' || other_tag], '{{}}', '[]', '[]', '\\x00', 0, 0
FROM bench_calls WHERE day = $1
"""
FILL = [
    f"""INSERT INTO spend_group SELECT md5(team || ' ' || key || ' ' || model)::uuid, {_KEY}, 'team-' || team, 'user-' || key % 800, NULL, 'model-' || model,
       'model-' || model, 'deployment-' || model, 'openai', 'acompletion' FROM (SELECT DISTINCT team, key, model FROM bench_calls) AS c""",
    # The number of tag n is n + 1, that of team n is n + 5001.
    """INSERT INTO spend_word (id, value) OVERRIDING SYSTEM VALUE
       SELECT n + 1, 'tag-' || n FROM generate_series(0, 4999) AS n UNION ALL SELECT n + 5001, 'team-' || n FROM generate_series(0, 499) AS n""",
    "SELECT setval(pg_get_serial_sequence('spend_word', 'id'), 5500)",
    """INSERT INTO spend_calls
       SELECT at, md5(team || ' ' || key || ' ' || model)::uuid, ARRAY[low + 1, high + 1], encode(substr(sha256(convert_to((low + 1) || ',' || (high + 1), 'UTF8')), 1, 16), 'hex')::uuid, 0,
           requests, requests, 0, input, output, 0, 0, 0, 0, cost
       FROM (SELECT (day::timestamp + hour * interval '1 hour') AT TIME ZONE 'UTC' AS at, team, key, model, least(tag, other_tag) AS low,
                 greatest(tag, other_tag) AS high, count(*) AS requests, sum(input) AS input, sum(output) AS output, sum(cost) AS cost
             FROM bench_calls GROUP BY 1, 2, 3, 4, 5, 6) AS c ORDER BY 1, 2""",
    """INSERT INTO spend_tag_team
       SELECT day::timestamp AT TIME ZONE 'UTC', tag + 1, team + 5001, count(*), count(*), 0, sum(input), sum(output), 0, 0, 0, 0, sum(cost)
       FROM (SELECT day, team, tag, input, output, cost FROM bench_calls UNION ALL SELECT day, team, other_tag, input, output, cost FROM bench_calls) AS c
       GROUP BY day, tag, team ORDER BY day, tag, team""",
    """INSERT INTO spend_tag SELECT 'day', at, tag, sum(requests), sum(requests), 0, sum(input_tokens), sum(output_tokens), 0, 0, 0, 0,
       sum(spend_picousd) FROM spend_tag_team GROUP BY at, tag ORDER BY at, tag""",
    """INSERT INTO spend_span SELECT DISTINCT grain, spend_period_of(grain, at), false
       FROM (SELECT DISTINCT at FROM spend_tag) AS d CROSS JOIN (VALUES ('day'), ('five'), ('month')) AS g (grain)""",
    f"""INSERT INTO rollup (scope, dimension, day, value, requests, successes, failures, input_tokens, output_tokens, unpriced, spend_picousd)
       SELECT '', d.dimension, day, d.value, sum(requests), sum(requests), 0, sum(input), sum(output), 0, sum(cost)
       FROM (SELECT day, team, key, model, count(*) AS requests, sum(input) AS input, sum(output) AS output, sum(cost) AS cost
             FROM bench_calls GROUP BY day, team, key, model) AS c CROSS JOIN LATERAL (VALUES ('total', ''), ('team', 'team-' || team), ('key', {_KEY}),
           ('model', 'model-' || model), ('provider', 'openai'), ('deployment', 'deployment-' || model), ('user', 'user-' || key % 800)
       ) AS d (dimension, value) GROUP BY d.dimension, day, d.value ORDER BY day, d.dimension, d.value""",
    """INSERT INTO rollup (scope, dimension, day, value, requests, successes, failures, input_tokens, output_tokens, unpriced, spend_picousd)
       SELECT '', 'tag', (at AT TIME ZONE 'UTC')::date, value, requests, successes, failures, input_tokens, output_tokens, unpriced, spend_picousd
       FROM spend_tag JOIN spend_word ON id = tag WHERE grain = 'day'""",
    latency.add("true"),
    # They are of no batch: a ledger that is started on it begins with its first.
    "INSERT INTO stream_position (stream, shard, seq) VALUES ('TRAFFIC', 0, 0)",
    "INSERT INTO spend_position VALUES (0, 0)",
    "INSERT INTO latency_position VALUES (0, 0)",
]  # fmt: skip
AUDIT = """
INSERT INTO audit_log (n, sha256, previous_sha256, seq, subject, message, fact_id, at_ms, kind, entity_id, action, actor_user_id, after, recorded_on)
SELECT n, '\\x00', '\\x00', n, 'control.key.' || n % 50000, '\\x00', 'fact-' || n, $2::bigint + n, CASE n % 5 WHEN 0 THEN 'alias' WHEN 1 THEN 'team' ELSE 'key' END,
    'entity-' || n % 50000, 'updated', 'user-' || n % 100, '{"key_alias": "x"}', $3::date
FROM generate_series(1, $1::bigint) AS n
"""


async def fill(connection: Any, url: str, calls: int, changes: int, today: date) -> None:
    started, server = time.monotonic(), [connection.get_server_pid()]

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:>7.1f} s, CPU {cpu_s(server):>7.1f} s  {what}", file=sys.stderr, flush=True)

    await connection.execute(
        "SET synchronous_commit = off; SET work_mem = '512MB'; SET maintenance_work_mem = '512MB'; SET search_path = tollgate;"
        " SET TIME ZONE 'UTC'"
    )
    # Figures instead of arguments: no statement that takes any makes a table.
    made = {"$1": str(calls), "$2": f"date '{today}'", "$3": str(-(-calls // DAYS))}
    query = CALLS
    for name, value in made.items():
        query = query.replace(name, value)
    await connection.execute(query)
    await connection.execute("CREATE INDEX ON bench_calls USING brin (day); ANALYZE bench_calls")
    say("calls made")
    first = today - timedelta(days=DAYS)
    for number in range(DAYS + 1):
        await connection.execute("SELECT request_log_ensure_day($1)", first + timedelta(days=number))
    month = first.replace(day=1)
    while month <= today:
        after = (month + timedelta(days=32)).replace(day=1)
        for table in (*TABLES, "audit_log"):
            await connection.execute(
                "SELECT ensure_partition($1, $2, $3, $4)", table, f"{month:%Y%m}", f"{month}", f"{after}"
            )
        month = after
    for number in range(DAYS):
        await connection.execute(LOG, first + timedelta(days=number))
    say("request_log")
    for query in FILL:
        await connection.execute(query)
        say(" ".join(query.split()[:3]))
    await connection.execute("DROP TABLE bench_calls")
    await connection.execute("ANALYZE")
    cube, now = Cube(Database(url), asyncio.Event()), datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    while await cube.fold(connection, now):
        pass
    say("folded")
    at_ms = int(datetime(today.year, today.month, today.day, tzinfo=UTC).timestamp() * 1000) - changes
    await connection.execute(AUDIT, changes, at_ms, today)
    await connection.execute("VACUUM ANALYZE")
    say("audit_log, and analysed")
