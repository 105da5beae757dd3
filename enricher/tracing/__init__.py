"""Traces, by OpenTelemetry's conventions for messaging and HTTP. Imported only where ``tracing.enabled`` says so.

Invariants: nothing in a span identifies a customer: no key, no value, no query of a URL, no error's text; what cannot
be exported is dropped, and the worker goes on; the pipeline knows the protocols alone (``enricher.protocols``).
"""
