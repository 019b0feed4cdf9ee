"""The ledger: what happened, and what it cost.

Owns: the book (the tables of schema `tollgate` in PostgreSQL) and each stream's position in it.
Takes in: TRAFFIC and CONTROL facts from JetStream; questions over HTTP (/spend/tags, /spend/logs,
/audit). Gives out: rows and rollups; the audit log and the log of traffic batches, both
hash-chained; provisional rows for calls that were opened and never ended.
Never does: change or delete a row of the book, decide who may do what (policy is asked), price a
call (the fact carries its price), or know a raw key.

Reading order: `writer` (stream → transaction), `facts_in` and `posting` (the decisions), `book`
(the SQL), then `expire`, `trim`; `routes` and `queries` answer questions. `chain` and `batch_chain`
say what is hashed; `verify` checks it.
"""
