"""What an audit has found. Pure."""

from msgspec import Struct, field


class Example(Struct, frozen=True):
    """One input record that something is wrong with, and what."""

    topic: str
    partition: int
    offset: int
    detail: str

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}: {self.detail}"


class Findings(Struct):
    """How often one thing was found, with the first examples."""

    count: int = 0
    examples: list[Example] = []

    def add(self, example: Example, most: int) -> None:
        """One more."""
        self.count += 1
        if len(self.examples) < most:
            self.examples.append(example)


class Span(Struct, frozen=True):
    """The offsets of one input partition that were audited: from ``start`` up to, and without, ``end``."""

    topic: str
    partition: int
    start: int
    end: int
    committed: int | None


class Others(Struct):
    """Outputs and dead letters that are no subject of the audit, and no mistake.

    Attributes:
        outside: of input that lies outside of the range.
        foreign: of other topics' input, or without a source.
        unreadable: no enriched event in a schema that we know.
        without_input: of an offset that holds no record: compacted away since, or of an aborted transaction.
    """

    outside: int = 0
    foreign: int = 0
    unreadable: int = 0
    without_input: int = 0


class Report(Struct):
    """The result.

    Attributes:
        spans: what was audited.
        inputs: records in it.
        outputs: enriched events of these, repeats included.
        dead_letters: of these, repeats included.
        missing: inputs without output and dead letter.
        not_committed: how many of the missing ones the group has not committed either: its workers may still come
            to them.
        repeated: inputs with more than one output or dead letter.
        out_of_order: outputs that stand behind one of a later input of their lane, repeats and what was dead-lettered,
            too, left aside.
        changed: outputs and dead letters whose key, headers, timestamp or (dead letters) value are not the input's.
        commits: partitions whose committed offset or metadata lies outside the log.
        others: what else was read.
        notes: what a reader of the report should know.
    """

    spans: list[Span]
    inputs: int = 0
    outputs: int = 0
    dead_letters: int = 0
    missing: Findings = field(default_factory=Findings)
    not_committed: int = 0
    repeated: Findings = field(default_factory=Findings)
    out_of_order: Findings = field(default_factory=Findings)
    changed: Findings = field(default_factory=Findings)
    commits: Findings = field(default_factory=Findings)
    others: Others = field(default_factory=Others)
    notes: list[str] = []

    def wrong(self, *, once: bool) -> list[str]:
        """The names of what is wrong; a repeat is only where each output is promised ``once``."""
        names = ["missing", "out_of_order", "changed", "commits", *(["repeated"] if once else [])]
        return [name for name in names if getattr(self, name).count]
