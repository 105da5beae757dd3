"""As which member of the group a consumer holds its partitions, and which group metadata may be shown for them.

A transaction with offsets shows the broker the group's metadata: member and generation. The broker refuses a member
that is none any more; so what is shown must be of the member that the partitions were assigned to, and of no other.

librdkafka (2.16) does not see to that for static members of a classic group whose partitions move one by one. A race:

1. The group does not hear of a member for its session timeout (it is frozen) and gives its partitions to others.
2. It goes on, with the news of a rebalance before it, and joins. It is told that it is unknown, drops its member id,
   and joins again. A dynamic member is told to ask with a new id first, and loses its partitions then. A static one is
   taken at once: it has a new id, and its partitions still, without a word of their loss.
3. The next assignment revokes them, as if they had been its own all the time, or leaves them.

Invariants: metadata is handed out for the member as which the partitions are held, and for no other; ids of members do
not come back, so metadata that is read before such an id is that member's.
"""

from confluent_kafka import Consumer


class Membership:
    """Of one consumer; asked on its thread.

    Args:
        static: whether the member has a name of its own (``group.instance.id``).
    """

    def __init__(self, *, static: bool) -> None:
        self._static = static
        self._member = ""

    def begin(self, consumer: Consumer) -> None:
        """A consumer without partitions gets some: it holds these, and others that come, as the member that it is."""
        self._member = consumer.memberid() or ""

    def stands(self, consumer: Consumer) -> bool:
        """Whether the consumer still is the member as which it holds its partitions."""
        return bool(self._member) and consumer.memberid() == self._member

    def replaced(self, consumer: Consumer) -> bool:
        """Whether it is another member by now, and will not be told that it has lost what it holds."""
        return self._static and consumer.memberid() not in (None, "", self._member)

    def metadata(self, consumer: Consumer) -> object | None:
        """The group's metadata, if it may be shown for what the consumer holds."""
        metadata = consumer.consumer_group_metadata()
        return metadata if self.stands(consumer) else None
