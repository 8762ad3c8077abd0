#!/usr/bin/env python
"""Run fixture services in one process; prints READY on stdout when they consume.

    python nk_serve.py
    python nk_serve.py --services interop,interop_relay --max-workers 50 --set serializer=msgpack
    python nk_serve.py --module nk_cached            # the nameko-cachetools services

The broker is AMQP_URI's (default amqp://guest:guest@127.0.0.1:5672/%2f). Names start with INTEROP_PREFIX.
SIGTERM: stop consuming, finish what runs, exit 0.
"""
import eventlet

eventlet.monkey_patch()

import argparse  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

import nameko  # noqa: E402
from nameko.runners import ServiceRunner  # noqa: E402

from nk_common import AMQP_URI, config_value, service_classes  # noqa: E402


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--uri", default=AMQP_URI)
    ap.add_argument("--module", action="append", default=[], help="default: nk_services and nk_catalog; repeatable")
    ap.add_argument("--services", default="", help="comma-separated names without prefix; default: all of the modules")
    ap.add_argument("--max-workers", type=int, default=10)
    ap.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="further nameko config")
    ap.add_argument("--log", default="ERROR")
    opts = ap.parse_args()
    logging.basicConfig(level=opts.log, stream=sys.stderr)

    config = {"AMQP_URI": opts.uri, "max_workers": opts.max_workers}
    config.update(config_value(item) for item in opts.set)

    is_v3 = hasattr(nameko, "config")
    if is_v3:  # nameko 3 keeps its configuration in a global, and has a separate prefetch setting
        config.setdefault("PREFETCH_COUNT", opts.max_workers)
        nameko.config.setup(config)

    runner = ServiceRunner() if is_v3 else ServiceRunner(config)
    for cls in service_classes(opts.module or ["nk_services", "nk_catalog"], opts.services):
        runner.add_service(cls)

    def on_term(*_):
        eventlet.spawn_n(runner.stop)

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, on_term)
    runner.start()
    print("READY", flush=True)
    runner.wait()


if __name__ == "__main__":
    main()
