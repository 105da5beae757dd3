"""Programs that do the worker's job without being it."""
