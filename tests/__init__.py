"""The project's tests. A package, so that ``tests.harness`` is ours whatever else is installed."""
