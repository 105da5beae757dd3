"""The look-up of a customer's offer history over HTTP.

``wire`` knows the service's JSON, ``engine`` what is asked of an HTTP library (with one module for each library),
``client`` the service's contract over both, and ``auth``, ``oauth``, ``tls`` and ``files`` what proves who asks. Its
users need ``open_client`` alone.
"""

from enricher.history.client import Method, OfferHistoryClient
from enricher.history.engine import Engine, Proxy, Reply, Settings
from enricher.history.opening import EngineName, Route, open_client, open_engine
from enricher.history.wire import decode_history

__all__ = [
    "Engine",
    "EngineName",
    "Method",
    "OfferHistoryClient",
    "Proxy",
    "Reply",
    "Route",
    "Settings",
    "decode_history",
    "open_client",
    "open_engine",
]
