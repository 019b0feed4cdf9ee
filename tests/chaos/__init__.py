"""Chaos and soak: Tollgate under load while its parts are killed, stopped, slowed and cut off.

Three independent records are kept (what clients saw, what the provider billed, what the book says)
and compared at the end.

    make chaos    CHAOS_MINUTES (10), CHAOS_SEED, ARGS="--only kill:ledger"
    make soak     SOAK_MINUTES (30)
    .venv/bin/python -m tests.chaos.kill_each   kills each process by itself, in rounds
    .venv/bin/python -m tests.chaos.sabotage    breaks a copy of Tollgate on purpose and shows that the checker notices

`records` says what is kept, `checker` what must hold (pure); `load` and `provider` write the
records; `schedule` draws the faults from a seed (pure) and `nemesis` carries them out; `world` is
the system under test, with a `link` before broker and database and a `disk` under the broker;
`run`, `soak` and `sabotage` are the programs.
"""  # noqa: W505
