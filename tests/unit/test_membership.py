"""Which group metadata may be shown; ``tests/contract/test_membership.py`` has it on Apache Kafka."""

from typing import Any

import pytest

from enricher.membership import Membership


class Client:
    """A consumer as far as the membership asks it. ``then`` is its member id after its metadata was read."""

    def __init__(self, member: str | None, then: str | None = "") -> None:
        self.member = member
        self.then = member if then == "" else then

    def memberid(self) -> str | None:
        """As the library's."""
        return self.member

    def consumer_group_metadata(self) -> str:
        """As the library's, which gives bytes."""
        metadata, self.member = f"metadata of {self.member}", self.then
        return metadata


def begun(member: str | None, *, static: bool = True) -> Membership:
    """A membership of a consumer that got partitions as this member."""
    membership = Membership(static=static)
    client: Any = Client(member)
    membership.begin(client)
    return membership


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(
    ("held_by", "now", "then", "shown", "replaced"),
    [
        ("a", "a", "a", True, False),
        ("a", "b", "b", False, True),
        ("a", "a", "b", False, True),  # between the two questions
        ("a", "a", None, False, False),
        ("a", "", None, False, False),
        ("", "b", "b", False, True),
        (None, None, None, False, False),
    ],
)
def test_metadata_is_shown_for_the_member_that_holds_the_partitions(
    held_by: str | None, now: str | None, then: str | None, *, shown: bool, replaced: bool, static: bool
) -> None:
    """And for no other, nor for none; only a static member is another one without a word."""
    membership = begun(held_by, static=static)
    client: Any = Client(now, then)
    assert (membership.metadata(client) is not None) == shown
    assert membership.stands(client) == shown
    assert membership.replaced(client) == (replaced and static)


def test_nothing_is_shown_before_there_are_partitions() -> None:
    """A consumer that holds nothing has nothing to commit."""
    client: Any = Client("a")
    assert Membership(static=True).metadata(client) is None
