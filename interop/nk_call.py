#!/usr/bin/env python
"""Call any nameko method and print one JSON line.

    python nk_call.py interop.echo '[1, "two"]' '{"three": 3}'
    python nk_call.py interop.sleep '[5]' --timeout 1 --header auth_token=secret

The service's name is taken as it is: INTEROP_PREFIX isn't added.
Output: {"ok": result}                                  exit status 0
        {"error": {"class": ..., "exc_type": ..., "args": [...], "text": ...}}   exit status 1
Results JSON cannot express (dates, Decimal, bytes ...) are printed as {"$py": type, "repr": ...}.
"""
import argparse
import json
import sys

import nameko
from nameko.standalone.rpc import ClusterRpcProxy

from nk_common import AMQP_URI, config_value


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("target", help="service.method")
    ap.add_argument("args", nargs="?", default="[]", help="JSON list")
    ap.add_argument("kwargs", nargs="?", default="{}", help="JSON object")
    ap.add_argument("--uri", default=AMQP_URI)
    ap.add_argument("--timeout", type=float, default=10)
    ap.add_argument("--repeat", type=int, default=1)
    ap.add_argument("--header", action="append", default=[], metavar="KEY=VALUE", help="context data (sent as nameko.KEY)")
    ap.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="further nameko config")
    opts = ap.parse_args()

    config = {"AMQP_URI": opts.uri}
    config.update(config_value(item) for item in opts.set)
    context = dict(header.partition("=")[::2] for header in opts.header)
    service, _, method = opts.target.rpartition(".")

    if hasattr(nameko, "config"):
        nameko.config.setup(config)
        proxy = ClusterRpcProxy(context_data=context, timeout=opts.timeout)
    else:
        proxy = ClusterRpcProxy(config, context_data=context, timeout=opts.timeout)

    status = 0
    with proxy as cluster:
        for _ in range(opts.repeat):
            try:
                line = {"ok": getattr(cluster[service], method)(*json.loads(opts.args), **json.loads(opts.kwargs))}
            except Exception as exc:  # the point of the script is to show what a caller gets
                status = 1
                line = {"error": described(exc)}
            print(json.dumps(line, default=printable), flush=True)
    return status


def described(exc):
    return {"class": type(exc).__name__, "exc_type": getattr(exc, "exc_type", None), "args": list(exc.args), "text": str(exc)}


def printable(value):
    return {"$py": type(value).__name__, "repr": repr(value)}


if __name__ == "__main__":
    sys.exit(main())
