-- Queries about prices, by name: see services/ledger/price.py.

-- price_add --
INSERT INTO price (sha256, body) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING

-- price_bodies --
SELECT sha256, body FROM price WHERE sha256 = ANY($1::text[])

-- price_all --
SELECT sha256, body FROM price ORDER BY sha256
