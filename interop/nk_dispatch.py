#!/usr/bin/env python
"""Dispatch a nameko event: python nk_dispatch.py SERVICE EVENT_TYPE '{"json": "payload"}'

The service's name is taken as it is: INTEROP_PREFIX isn't added.
"""
import argparse
import json

import nameko
from nameko.standalone.events import event_dispatcher

from nk_common import AMQP_URI


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("service")
    ap.add_argument("event_type")
    ap.add_argument("payload", nargs="?", default="null")
    ap.add_argument("--uri", default=AMQP_URI)
    opts = ap.parse_args()
    if hasattr(nameko, "config"):
        nameko.config.setup({"AMQP_URI": opts.uri})
        dispatch = event_dispatcher()
    else:
        dispatch = event_dispatcher({"AMQP_URI": opts.uri})
    dispatch(opts.service, opts.event_type, json.loads(opts.payload))


if __name__ == "__main__":
    main()
