"""The look-up of a customer's offer history over HTTP.

``wire`` knows the service's JSON, ``engine`` what is asked of an HTTP library (with one module for each library), and
``client`` the service's contract over both. Its users need ``open_client`` alone.
"""

from enricher.history.client import EngineName, Method, OfferHistoryClient, open_client, open_engine
from enricher.history.engine import Engine, Reply, Settings
from enricher.history.wire import decode_history

__all__ = [
    "Engine",
    "EngineName",
    "Method",
    "OfferHistoryClient",
    "Reply",
    "Settings",
    "decode_history",
    "open_client",
    "open_engine",
]
