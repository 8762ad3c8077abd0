"""A product catalogue that can be made slow or broken: the service of the ``outage`` example.

    catalog          get(product_id), and the switches set_slow(seconds) and set_failing(on)

``stock`` falls by one each second, so that an old answer can be told from a new one.
"""
from __future__ import annotations

import time

import eventlet
from nameko.rpc import rpc

from nk_common import PREFIX

PRODUCTS = {
    "the_odyssey": ("The Odyssey", 9.99),
    "moby_dick": ("Moby-Dick; or, The Whale", 12.5),
    "middlemarch": ("Middlemarch", 14.0),
    "snow_country": ("雪国", 8.75),
}
STOCK_AT_START = 100_000
STARTED = time.monotonic()

_switches = {"slow": 0.0, "failing": False}


class ProductNotFound(LookupError):
    """There is no product of this id: an answer, not a fault."""


class CatalogBroken(Exception):
    """What every ``get`` raises while the service is told to fail."""


class Catalog:
    name = PREFIX + "catalog"

    @rpc
    def get(self, product_id):
        if _switches["slow"]:
            eventlet.sleep(_switches["slow"])
        if _switches["failing"]:
            raise CatalogBroken("the catalogue was told to fail")
        if product_id not in PRODUCTS:
            raise ProductNotFound(product_id)
        title, price = PRODUCTS[product_id]
        stock = STOCK_AT_START - int(time.monotonic() - STARTED)
        return {"id": product_id, "title": title, "price": price, "stock": stock}

    @rpc
    def products(self):
        return sorted(PRODUCTS)

    @rpc
    def set_slow(self, seconds):
        """Each later ``get`` takes this long; 0 makes the service quick again."""
        _switches["slow"] = float(seconds)

    @rpc
    def set_failing(self, on):
        """Each later ``get`` raises ``CatalogBroken`` while on."""
        _switches["failing"] = bool(on)
