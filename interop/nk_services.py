"""Nameko services used as interop fixtures (work with nameko 2.14 and 3.0.0rc).

    interop          every kind of reply a caller has to cope with
    interop_relay    a service that itself calls ``interop`` (nested calls)
    interop_events   records nameko events in all three handler modes

Every name starts with the text of the environment variable INTEROP_PREFIX, so that several runs share one broker
without meeting. Nothing here is written to be fast; it is written to be easy to assert on.
"""
from __future__ import annotations

import base64
import collections
import datetime as dt
import decimal
import uuid

import amqp
import eventlet
import kombu
from nameko.events import BROADCAST, SERVICE_POOL, SINGLETON, EventDispatcher, event_handler
from nameko.exceptions import deserialize_to_instance
from nameko.extensions import DependencyProvider
from nameko.rpc import Rpc, RpcProxy, rpc

from nk_common import AMQP_URI, PREFIX


class CustomError(Exception):
    """Not registered anywhere: a Python caller sees ``RemoteError``."""


@deserialize_to_instance
class RegisteredError(Exception):
    """Registered: a Python caller that imports this module gets the class back."""


class NoArgsError(Exception):
    """Keeps state outside ``args`` and has its own text."""

    def __init__(self, code):
        super().__init__()
        self.code = code

    def __str__(self):
        return "code is %s" % self.code


class BrokenStrError(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


class Unserialisable:
    def __repr__(self):
        return "<Unserialisable fixture>"


class WorkerInfo(DependencyProvider):
    """Gives a method what the caller's headers turned into."""

    def get_dependency(self, worker_ctx):
        return worker_ctx


class RawRpc(Rpc):
    """The method's result, ``(content type, body)``, is the whole reply: nothing of nameko's is added.

    The body is a text whose characters stand for bytes (latin-1), the content type may be None.
    """

    def handle_result(self, message, worker_ctx, result, exc_info):
        content_type, body = result
        properties = {"content_type": content_type} if content_type else {}
        reply = amqp.Message(body.encode("latin-1"), correlation_id=message.properties["correlation_id"], **properties)
        with kombu.Connection(AMQP_URI) as connection:
            connection.channel().basic_publish(reply, "nameko-rpc", message.properties["reply_to"])
        message.ack()
        return result, exc_info


raw_rpc = RawRpc.decorator


class DirectedRpc(Rpc):
    """The method returns ``(result, directives)``: what callers' caches may do with it, as headers of the reply."""

    def handle_result(self, message, worker_ctx, result, exc_info):
        if exc_info is not None:
            return super().handle_result(message, worker_ctx, result, exc_info)
        result, directives = result
        with kombu.Connection(AMQP_URI) as connection:
            connection.Producer(serializer="json").publish(
                {"result": result, "error": None},
                exchange="nameko-rpc",
                routing_key=message.properties["reply_to"],
                correlation_id=message.properties["correlation_id"],
                headers={"nameko.cache_" + name: value for name, value in directives.items()},
            )
        message.ack()
        return result, exc_info


directed_rpc = DirectedRpc.decorator

RICH = {
    "datetime": dt.datetime(2024, 2, 29, 12, 34, 56, 789012),
    "datetime_utc": dt.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=dt.timezone.utc),
    "datetime_offset": dt.datetime(
        2024, 2, 29, 12, 34, 56, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))
    ),
    "date": dt.date(2024, 2, 29),
    "time": dt.time(12, 34, 56, 789012),
    "decimal": decimal.Decimal("1234567890.123456789012345678"),
    "decimal_exp": decimal.Decimal("1E+30"),
    "uuid": uuid.UUID("12345678-1234-5678-1234-567812345678"),
    "bytes_utf8": "h\u00e9llo".encode(),
    "bytes_binary": b"\xff\xfe\x00\x01",
    "tuple": (1, "two", 3.0),
    "int_keys": {1: "a", 2: "b"},
    "none_true_keys": {None: 0, True: 1, 1.5: 2},
    "big_int": 2 ** 80,
    "nan": float("nan"),
    "inf": float("inf"),
    "neg_inf": float("-inf"),
    "float": 0.1 + 0.2,
    "float_exp": 1e300,
    "neg_zero": -0.0,
    "unicode": "snowman \u2603, clef \U0001d11e, nul \x00, del \x7f, quote \"",
    "lone_surrogate": "\ud800",
    "nested": {"at": [dt.date(2024, 1, 1), {"amount": decimal.Decimal("9.99")}]},
}

_counts = collections.Counter()
_events = collections.defaultdict(list)


class Interop:
    name = PREFIX + "interop"

    worker = WorkerInfo()
    dispatch = EventDispatcher()

    # -- plain values -----------------------------------------------------
    @rpc
    def echo(self, *args, **kwargs):
        return {"args": list(args), "kwargs": kwargs}

    @rpc
    def ident(self, value=None):
        return value

    @rpc
    def add(self, a, b=2):
        return a + b

    @rpc
    def describe(self, *args):
        """What the arguments became on this side: [[type name, repr], ...]."""
        return [[type(a).__name__, repr(a)] for a in args]

    @rpc
    def none(self):
        return None

    @rpc
    def big(self, size):
        return "x" * int(size)

    @rpc
    def big_rows(self, rows):
        return [{"id": i, "name": "name-%d" % i, "tags": ["a", "b"], "score": i / 7} for i in range(int(rows))]

    @rpc
    def rich(self, kind):
        return RICH[kind]

    @rpc
    def rich_all(self):
        """Everything that strict JSON readers can also take."""
        skip = {"nan", "inf", "neg_inf", "lone_surrogate"}
        return {k: v for k, v in RICH.items() if k not in skip}

    @rpc
    def blob(self, b64):
        return base64.b64decode(b64)

    # -- names that proxies of the original use for themselves -----------------
    @rpc
    def cache(self):
        return "a method like any other"

    # -- replies that nameko itself would not send ----------------------------
    @raw_rpc
    def raw(self, content_type, body):
        return content_type, body

    # -- replies that say what caches may do with them -------------------------
    @directed_rpc
    def directed(self, key, directives):
        _counts[key] += 1
        return _counts[key], directives

    # -- time -------------------------------------------------------------
    @rpc
    def sleep(self, seconds, value=None):
        eventlet.sleep(float(seconds))
        return value

    # -- failures ---------------------------------------------------------
    @rpc
    def raise_standard(self, kind="ValueError", *args):
        exc = {"ValueError": ValueError, "KeyError": KeyError, "ZeroDivisionError": ZeroDivisionError,
               "PermissionError": PermissionError, "TypeError": TypeError}[kind]
        raise exc(*args)

    @rpc
    def raise_custom(self, *args):
        raise CustomError(*args)

    @rpc
    def raise_registered(self, *args):
        raise RegisteredError(*args)

    @rpc(expected_exceptions=CustomError)
    def raise_expected(self, *args):
        raise CustomError(*args)

    @rpc
    def raise_rich(self):
        raise CustomError(1, None, True, 2.5, RICH["datetime"], RICH["decimal"], {"k": [1, (2, 3)]}, b"by")

    @rpc
    def raise_no_args(self):
        raise NoArgsError(42)

    @rpc
    def raise_broken_str(self):
        raise BrokenStrError("x")

    @rpc
    def unserialisable(self):
        return Unserialisable()

    @rpc
    def fail_unless(self, key):
        """Fails while the switch ``key`` is off (see set_count)."""
        if not _counts[key]:
            raise CustomError("switch %s is off" % key)
        return _counts[key]

    # -- counters (a process-wide side effect a cache must hide) ------------
    @rpc
    def count(self, key="default"):
        _counts[key] += 1
        return _counts[key]

    @rpc
    def count_other(self, key="default"):
        _counts["other:" + key] += 1
        return "other-%d" % _counts["other:" + key]

    @rpc
    def slow_count(self, key, seconds):
        eventlet.sleep(float(seconds))
        _counts[key] += 1
        return _counts[key]

    @rpc
    def get_count(self, key="default"):
        return _counts[key]

    @rpc
    def set_count(self, key, value):
        _counts[key] = value
        return value

    # -- context ----------------------------------------------------------
    @rpc
    def context(self):
        """Headers as the worker sees them, prefix stripped, plus the call ids."""
        return {
            "data": dict(self.worker.data),
            "call_id": self.worker.call_id,
            "call_id_stack": self.worker.call_id_stack,
        }

    @rpc
    def whoami(self):
        return self.worker.data.get("auth_token")

    # -- events -----------------------------------------------------------
    @rpc
    def emit(self, event_type, payload=None):
        self.dispatch(event_type, payload)
        return True


class InteropRelay:
    name = PREFIX + "interop_relay"

    interop = RpcProxy(PREFIX + "interop")
    missing = RpcProxy(PREFIX + "no_such_service")
    foreign = RpcProxy(PREFIX + "foreign")  # a service that the other side (not Python) provides

    @rpc
    def call(self, method, args=(), kwargs=None):
        return getattr(self.interop, method)(*args, **(kwargs or {}))

    @rpc
    def call_many(self, method, calls):
        """Start all calls first, then collect the replies in order."""
        replies = [getattr(self.interop, method).call_async(*args) for args in calls]
        return [reply.result() for reply in replies]

    @rpc
    def call_foreign(self, method, args=(), kwargs=None):
        return getattr(self.foreign, method)(*args, **(kwargs or {}))

    @rpc
    def call_missing(self):
        return self.missing.anything()


class InteropEvents:
    name = PREFIX + "interop_events"

    worker = WorkerInfo()

    @event_handler(PREFIX + "interop", "pool", handler_type=SERVICE_POOL)
    def on_pool(self, payload):
        _events["pool"].append(payload)

    @event_handler(PREFIX + "interop", "single", handler_type=SINGLETON)
    def on_single(self, payload):
        _events["single"].append(payload)

    @event_handler(PREFIX + "interop", "broadcast", handler_type=BROADCAST, reliable_delivery=False)
    def on_broadcast(self, payload):
        _events["broadcast"].append(payload)

    @event_handler(PREFIX + "interop", "unreliable", handler_type=SERVICE_POOL, reliable_delivery=False)
    def on_unreliable(self, payload):
        _events["unreliable"].append(payload)

    @event_handler(PREFIX + "foreign", "changed")
    def on_foreign(self, payload):
        """For events that a non-Python process publishes on ``foreign.events``."""
        _events["foreign"].append({"payload": payload, "data": dict(self.worker.data)})

    @rpc
    def received(self, key):
        return _events[key]

    @rpc
    def clear(self):
        _events.clear()
