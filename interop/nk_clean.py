#!/usr/bin/env python
"""Delete the queues and exchanges that fixture services left on the broker: a nameko service's queues are durable.

    INTEROP_PREFIX=abc_ python nk_clean.py --module nk_services --module nk_catalog

Refuses to work without a prefix: the names would be those of everybody.
"""
import argparse
import inspect
import sys

import kombu
from nameko.events import SERVICE_POOL, SINGLETON, EventHandler

from nk_common import AMQP_URI, PREFIX, service_classes


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--module", action="append", default=[], help="default: all of them; repeatable")
    ap.add_argument("--uri", default=AMQP_URI)
    opts = ap.parse_args()
    if not PREFIX:
        sys.exit("INTEROP_PREFIX is empty: nothing is deleted")

    classes = list(service_classes(opts.module or ["nk_services", "nk_catalog"]))
    with kombu.Connection(opts.uri, connect_timeout=5) as connection:
        channel = connection.channel()
        for queue in {name for cls in classes for name in queues(cls)}:
            channel.queue_delete(queue)
        for exchange in {name for cls in classes for name in exchanges(cls)}:
            channel.exchange_delete(exchange)


def queues(cls):
    """Names as nameko makes them; broadcast and reply queues go by themselves."""
    yield "rpc-" + cls.name
    for method, handler in event_handlers(cls):
        event = "evt-%s-%s" % (handler.source_service, handler.event_type)
        if handler.handler_type == SERVICE_POOL:
            yield "%s--%s.%s" % (event, cls.name, method)
        elif handler.handler_type == SINGLETON:
            yield event


def exchanges(cls):
    yield cls.name + ".events"
    for _, handler in event_handlers(cls):
        yield handler.source_service + ".events"


def event_handlers(cls):
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        for entrypoint in getattr(method, "nameko_entrypoints", ()):
            if isinstance(entrypoint, EventHandler):
                yield name, entrypoint


if __name__ == "__main__":
    main()
