"""The event loop with a virtual clock, which the package has for ``enricher test``, too."""

from enricher.testing.virtual_time import Stuck, VirtualLoop, run_virtual

__all__ = ["Stuck", "VirtualLoop", "run_virtual"]
