"""Asking a large model over HTTP: one way out, and what servers are known to do.

`transport` sends (the only importer of httpx), `breaker` says when an endpoint is left alone, `keys` finds
the key. `sse`, `fim`, `caps`, `realign`, `verify`, `strategy`, `shown` are pure. `backend` runs strategies
above an adapter, `ahead` what is read before it is asked; the adapters are plugins (plugins/mccomd_plugins).
"""
