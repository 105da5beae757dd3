"""What development, tests and the demo run against: a history service, an embedded broker, in-memory adapters."""
