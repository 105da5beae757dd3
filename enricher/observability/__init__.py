"""What can be seen of a running worker: metrics, health, and a page for a person at 3 a.m.

Invariants: nothing here is done per event, but what an event changes is a plain number elsewhere (``enricher.stats``,
``enricher.pulse``) which is read when somebody asks; nothing that is shown identifies a customer; nobody who asks can
hold up the worker.
"""
