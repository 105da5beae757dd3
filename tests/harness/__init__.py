"""What tests stand on: a real Apache Kafka, topics and records in it, and the console script as a process.

``broker`` says what a test broker offers, ``container`` and ``jvm`` are the two ways to have one, ``selection`` picks
between them. ``clients`` writes and reads topics, ``program`` runs ``enricher``, ``waiting`` waits for conditions.
"""
