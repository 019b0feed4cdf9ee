-- How far a rebuild is that was interrupted: services/ledger/rebuild.py.
CREATE TABLE rebuild_position (
    what text PRIMARY KEY,
    day date NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
