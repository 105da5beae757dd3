"""enricher: customer-contact events in, the same events with each customer's offer history out."""

__version__ = "0.1.0"
