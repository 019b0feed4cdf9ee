"""`/.well-known/tollgate-ledger-keys`, for anybody; `/checkpoints`, for who may see the audit
log.
"""

import base64

import msgspec
from aiohttp import web

from services.ledger import answers, checkpoint, params
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.database import QUERIES

LIMIT_MAX = 1_000
KEPT_S = 30
"""How long an answer that anybody may ask for is kept."""


def handlers(api: Api) -> dict[str, Handler]:
    async def keys(request: web.Request) -> web.StreamResponse:
        rows = await api.book().fetch(QUERIES["checkpoint_keys"])
        statements = [checkpoint.envelope(row["envelope"]) for row in rows]
        found = [checkpoint.read_statement(signed) for signed in statements]
        answer = {
            "book": found[0].book if found else None,
            "keys": [
                {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": said.key, "x": _base64url(said.public_key),
                 "signs_after": said.after}
                for said in found
            ],
            "statements": [msgspec.to_builtins(signed) for signed in statements],
        }  # fmt: skip
        return answers.json_answer(answer, {"Cache-Control": f"public, max-age={KEPT_S}"})

    async def checkpoints(request: web.Request) -> web.StreamResponse:
        await api.identify_admin(request, "/checkpoints")
        after = params.integer(request.query, "after", 0, 0, 2**62)
        limit = params.integer(request.query, "limit", 100, 1, LIMIT_MAX)
        rows = await api.book().fetch(QUERIES["checkpoint_after"], after, limit)
        shown = [
            {
                **msgspec.to_builtins(checkpoint.read_checkpoint(checkpoint.envelope(row["envelope"]))),
                "envelope": msgspec.Raw(row["envelope"].encode()),
            }
            for row in rows
        ]
        return answers.json_answer({"checkpoints": shown, "next_after": rows[-1]["n"] if len(rows) == limit else None})

    return {"/.well-known/tollgate-ledger-keys": keys, "/checkpoints": checkpoints}


def _base64url(text: str) -> str:
    return base64.urlsafe_b64encode(base64.b64decode(text)).decode().rstrip("=")
