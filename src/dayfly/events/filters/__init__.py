"""Which events a trigger wants: a filter is data, compiled once, then a predicate over an event.

    dialects     exact, prefix, suffix, all, any, not: the CloudEvents Subscriptions API
    cesql        the CloudEvents SQL expression language, version 1
    patterns     content patterns as EventBridge and Lambda's event source mappings write them
    glob         LIKE and wildcards in time linear in the text

Everything in here is pure. Filters come from clients: their size and depth are bounded when they are compiled, and no text that a client
wrote is ever run as a regular expression.
"""

from .dialects import Filterable, Predicate, compile_filters

__all__ = ["Filterable", "Predicate", "compile_filters"]
