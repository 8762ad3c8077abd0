"""Hits of nameko-cachetools, measured beside ours by `compare python`.

Reads lines ``hot N``, ``cold N`` and ``memory N``; answers each with one number: nanoseconds of processor time per hit of a
CacheFirstRpcProxy as a service uses it (``self.products.get(id)``), or bytes per entry of its dict.
"""
import bisect
import itertools
import json
import random
import sys
import time
import tracemalloc
from types import SimpleNamespace

from nameko_cachetools import CacheFirstRpcProxy

PRODUCT = {"id": "the_odyssey", "title": "The Odyssey", "price": 12.5, "stock": 7, "tags": ["a", "b"]}
OBJECT = ('{"id": "the_odyssey", "title": "The Odyssey", "authors": ["Homer"], "price": 12.5, "stock": 7, '
          '"publisher": "Penguin", "isbn": "9780140268867", "pages": 541, "language": "en", "in_print": true, '
          '"tags": ["a", "bcd"]}')
assert len(OBJECT) == 215, len(OBJECT)
MANY = 100_000


class Proxy:
    def __init__(self, keys, reply):
        container = SimpleNamespace(config={"AMQP_URI": "pyamqp://"})
        provider = CacheFirstRpcProxy("products")
        provider.rpc_reply_listener = None
        self.products = provider.get_dependency(SimpleNamespace(container=container))
        for n in range(keys):
            self.products.cache[json.dumps(((n,), {}), sort_keys=True)] = (reply(),)

    def nanoseconds(self, keys):
        began = time.thread_time_ns()
        for n in keys:
            self.products.get(n)
        return (time.thread_time_ns() - began) / len(keys)


def zipf(keys, length):
    ranks = list(itertools.accumulate(1 / rank ** 0.99 for rank in range(1, keys + 1)))
    order = list(range(keys))
    random.Random(1).shuffle(order)
    draw = random.Random(2).random
    return [order[bisect.bisect_left(ranks, draw() * ranks[-1])] for _ in range(length)]


def memory(entries):
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = Proxy(entries, lambda: json.loads(OBJECT))
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del kept
    return used / entries


def main():
    hot, cold, trace = Proxy(64, lambda: dict(PRODUCT)), None, None
    for line in sys.stdin:
        what, number = line.split()
        number = int(number)
        if what == "hot":
            answer = hot.nanoseconds([n % 64 for n in range(number)])
        elif what == "cold":
            if cold is None:
                cold, trace = Proxy(MANY, lambda: dict(PRODUCT)), itertools.cycle(zipf(MANY, 200_000))
            answer = cold.nanoseconds(list(itertools.islice(trace, number)))
        else:
            answer = memory(number)
        print(answer, flush=True)


main()
