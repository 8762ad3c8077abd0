"""Services whose calls go through nameko-cachetools (nameko 2 only): the original, to be compared with.

    cached_failover      CachedRpcProxy, failover_timeout=1, plain dict
    cached_no_timeout    CachedRpcProxy with its defaults
    cached_failover_ttl  CachedRpcProxy, TTLCache(maxsize=1024, ttl=30): the README's example
    cached_first         CacheFirstRpcProxy, plain dict
    cached_first_ttl     CacheFirstRpcProxy, TTLCache(maxsize=2, ttl=2)

Each forwards ``call(method, args, kwargs)`` to ``interop``. ``attempt`` does the same and tells how it went, as a Python
caller of the proxy sees it: {"ok": reply, "seconds": s} or {"error": class, "exc_type": .., "text": .., "seconds": s}.
"""
import time

from cachetools import TTLCache
from nameko.rpc import rpc
from nameko_cachetools import CachedRpcProxy, CacheFirstRpcProxy

from nk_common import PREFIX

TARGET = PREFIX + "interop"


class Forward:
    @rpc
    def call(self, method, args=(), kwargs=None):
        return getattr(self.target, method)(*args, **(kwargs or {}))

    @rpc
    def attempt(self, method, args=(), kwargs=None):
        start = time.monotonic()
        try:
            outcome = {"ok": getattr(self.target, method)(*args, **(kwargs or {}))}
        except Exception as exc:  # the point is to show what a caller gets
            outcome = {"error": type(exc).__name__, "exc_type": getattr(exc, "exc_type", None), "text": str(exc)}
        return {**outcome, "seconds": time.monotonic() - start}

    @rpc
    def spoil(self, method, args=()):
        """Calls, and changes what comes back: a dict."""
        reply = getattr(self.target, method)(*args)
        reply["spoilt"] = True

    @rpc
    def cache_state(self):
        """{key: reply}; the keys are JSON texts of (args, kwargs), without the method."""
        return {key: value[0] for key, value in self.target.cache.items()}


class CachedFailover(Forward):
    name = PREFIX + "cached_failover"
    target = CachedRpcProxy(TARGET, failover_timeout=1)


class CachedNoTimeout(Forward):
    name = PREFIX + "cached_no_timeout"
    target = CachedRpcProxy(TARGET)


class CachedFailoverTtl(Forward):
    name = PREFIX + "cached_failover_ttl"
    target = CachedRpcProxy(TARGET, cache=TTLCache(maxsize=1024, ttl=30))


class CachedFirst(Forward):
    name = PREFIX + "cached_first"
    target = CacheFirstRpcProxy(TARGET)


class CachedFirstTtl(Forward):
    name = PREFIX + "cached_first_ttl"
    target = CacheFirstRpcProxy(TARGET, cache=TTLCache(maxsize=2, ttl=2))
