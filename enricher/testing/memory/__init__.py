"""In-memory adapters for the pipeline: they stand where Kafka and the service stand when time is virtual.

Whatever they do, the real ones can do: the contract suite (``tests/contract``) runs against both.
"""

from enricher.testing.memory.broker import MemoryBroker
from enricher.testing.memory.client import Call, MemoryClient
from enricher.testing.memory.sink import MemorySink
from enricher.testing.memory.source import MemorySource
from enricher.testing.memory.transactions import MemoryTransactions

__all__ = ["Call", "MemoryBroker", "MemoryClient", "MemorySink", "MemorySource", "MemoryTransactions"]
