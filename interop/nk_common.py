"""What the fixture scripts share: the broker, the names, the service classes of a module."""
import importlib
import inspect
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

AMQP_URI = os.environ.get("AMQP_URI", "amqp://guest:guest@127.0.0.1:5672/%2f")
PREFIX = os.environ.get("INTEROP_PREFIX", "")


def config_value(item):
    """``KEY=JSON`` to (key, value); what is no JSON is taken as text."""
    key, _, text = item.partition("=")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text


def service_classes(modules, names=""):
    """The service classes of ``modules``; only those of the comma-separated ``names`` (without prefix), if any."""
    wanted = {PREFIX + name for name in names.split(",") if name}
    for module in map(importlib.import_module, modules):
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if cls.__module__ == module.__name__ and isinstance(getattr(cls, "name", None), str):
                if not wanted or cls.name in wanted:
                    yield cls
