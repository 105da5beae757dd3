"""Chaos: several workers on a real Kafka while everything around them fails, and `enricher verify` decides.

``schedule`` says what happens when, from a seed; ``feed`` writes the input, ``crew`` keeps the workers, ``stage`` has
broker, topics and service, and ``run`` plays a schedule on them and judges. ``python -m tests.chaos --help``.
"""
