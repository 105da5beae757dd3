"""What a rate takes: the arithmetic, and that docs/sizing.md shows what the program computes."""

import json
import math
import re
import shlex
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from enricher.cli.app import app
from enricher.codec import Decoder, Encoder
from enricher.history.wire import decode_history
from enricher.model import Enriched, Enrichment, OfferHistory, Record, Status
from enricher.sizing import CPU_PER_EVENT, Demand, Plan, ceiling, in_flight, plan
from enricher.testing.contacts import contacts
from enricher.testing.histories import GeneratedHistories
from tests.readme import README, ROOT

DOCUMENT = ROOT / "docs" / "sizing.md"
TEXT = DOCUMENT.read_text("utf-8")


def size(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `enricher size`."""
    result = CliRunner().invoke(app, ["size", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_plan_by_hand() -> None:
    """The example of the document: 20,000/s at 50 ms, worked out step by step."""
    made = plan(Demand(rate=20_000, latency=0.05))
    assert made.service_in_flight == pytest.approx(1_000)  # 20,000 x 0.05
    assert made.replicas_for_cpu == 10  # 20,000 x 350 us / 0.7
    assert made.replicas_for_in_flight == 6  # 1,000 / 0.7 / 256
    assert made.replicas == 11
    assert made.max_in_flight == 143  # 1,000 / 0.7 / 10, as one of the 11 may be away
    assert made.service_most == 1_573
    assert made.partitions == 33
    assert made.capacity == pytest.approx(11 / 350e-6)
    assert made.utilisation == pytest.approx(20_000 * 350e-6 / 11)
    assert made.catch_up == pytest.approx(20_000 / (11 / 350e-6 - 20_000))
    assert made.key_rate == pytest.approx(20)
    assert (made.read, made.written) == (5e6, 26e6)
    assert made.broker_writes == 3 * 31e6
    assert made.broker_sends == 31e6 + 2 * 31e6
    assert made.brokers == 3
    assert made.shortfalls == ()


def test_latency_rather_than_cpu_may_decide() -> None:
    """A slow service takes replicas for its look-ups in flight alone."""
    made = plan(Demand(rate=2_000, latency=1.0, spare=0))
    assert (made.replicas_for_cpu, made.replicas_for_in_flight) == (1, 12)
    assert made.replicas == 12
    assert made.max_in_flight == 239
    assert made.capacity == pytest.approx(12 * 239)


def test_groups_have_as_many_replicas_each() -> None:
    """A million events a second is more than one group should hold."""
    made = plan(Demand(rate=1_000_000, latency=0.05))
    assert (made.groups, made.replicas, made.partitions) == (6, 504, 1_512)
    assert made.shortfalls == ()


def test_without_look_ups_only_cpu_counts() -> None:
    """No look-up, no wait."""
    made = plan(Demand(rate=1_000, latency=0.05, lookups=0, spare=0))
    assert (made.max_in_flight, made.key_rate, made.service_rate) == (1, None, 0)
    assert made.capacity == pytest.approx(1 / CPU_PER_EVENT)


def test_no_headroom_never_catches_up() -> None:
    """What just suffices never does more."""
    made = plan(Demand(rate=1 / CPU_PER_EVENT, latency=0.01, headroom=0, spare=0))
    assert made.utilisation == pytest.approx(1.0)
    assert made.catch_up is None or made.catch_up > 1e6


def test_given_partitions_may_take_more_replicas() -> None:
    """24 partitions on 11 replicas give some of them 3, which is too much; on 12 each has 2."""
    made = plan(Demand(rate=20_000, latency=0.05, partitions=24))
    assert (made.replicas, made.partitions) == (12, 24)
    assert made.utilisation <= 0.7
    assert made.shortfalls == ()


@pytest.mark.parametrize(("partitions", "why"), [(10, "1 would be idle"), (8, "too few for the rate")])
def test_fewer_partitions_than_replicas(partitions: int, why: str) -> None:
    """A replica without a partition does nothing."""
    made = plan(Demand(rate=20_000, latency=0.05, partitions=partitions))
    assert made.shortfalls == (f"11 replicas need as many partitions, and there are {partitions}: {why}",)


def test_order_by_partition_takes_a_partition_for_each_look_up() -> None:
    """Each partition has one look-up in flight."""
    made = plan(Demand(rate=2_000, latency=0.1, order="partition"))
    assert made.partitions >= 2_000 * 0.1 / 0.7
    assert f"would take {plan(Demand(rate=20_000, latency=0.05, order='partition')).partitions:,}" in TEXT
    assert made.shortfalls == ()
    [why] = plan(Demand(rate=2_000, latency=0.1, order="partition", partitions=12)).shortfalls
    [why] = plan(Demand(rate=2_000, latency=0.1, order="partition", partitions=12)).shortfalls
    assert "286 partitions would do" in why


def test_one_key_cannot_be_shared_out() -> None:
    """Its events wait for each other, if they have an order."""
    [why] = plan(Demand(rate=1_000, latency=0.05, hottest=0.1)).shortfalls
    assert "100.0 events/s" in why
    assert plan(Demand(rate=1_000, latency=0.05, hottest=0.1, order="none")).shortfalls == ()


def test_the_service_has_to_bear_it() -> None:
    """A service that answers 500 at once is good for 10,000/s at 50 ms, less the headroom."""
    [why] = plan(Demand(rate=20_000, latency=0.05, service_at_once=500)).shortfalls
    assert "7,000 look-ups/s of 20,000" in why
    assert plan(Demand(rate=20_000, latency=0.05, service_at_once=1_600)).shortfalls == ()


demands = st.builds(
    Demand,
    rate=st.floats(0.1, 2e6),
    latency=st.floats(0.0005, 5),
    lookups=st.just(0.0) | st.floats(0.01, 3),
    headroom=st.floats(0, 0.9),
    spare=st.integers(0, 5),
    cpu=st.floats(50e-6, 2e-3),
    max_in_flight=st.integers(1, 1_000),
    order=st.sampled_from(["key", "partition", "none"]),
    group_size=st.integers(1, 200),
)


@given(demands)
def test_a_plan_bears_its_rate(demand: Demand) -> None:
    """With the spare replicas away, and with the headroom; never more look-ups than allowed, never an idle replica."""
    made, slack = plan(demand), 1 + 1e-5
    usable, working = 1 - demand.headroom, made.replicas - demand.spare
    assert made.shortfalls == ()
    assert demand.rate * demand.cpu <= working * usable * slack
    assert 1 <= made.max_in_flight <= demand.max_in_flight
    assert made.service_in_flight <= working * made.max_in_flight * usable * slack + 1e-5
    assert made.partitions >= made.replicas
    assert made.partitions % made.replicas == made.replicas % made.groups == 0
    assert made.replicas / made.groups <= demand.group_size
    assert made.utilisation <= usable * slack + 1e-5
    json.dumps(vars_of(made), allow_nan=False)


@given(demands, st.floats(1, 5))
def test_more_takes_no_less(demand: Demand, factor: float) -> None:
    """A higher rate never takes fewer replicas, look-ups in flight over all, or brokers."""
    little, much = plan(demand), plan(Demand(**{**vars_of(demand), "rate": demand.rate * factor}))
    assert much.replicas >= little.replicas
    assert much.service_in_flight >= little.service_in_flight
    assert much.brokers >= little.brokers


@given(demands, st.integers(1, 3_000))
def test_given_partitions_are_kept(demand: Demand, partitions: int) -> None:
    """And where they suffice, no replica has more of them than it can bear."""
    made = plan(Demand(**{**vars_of(demand), "partitions": partitions}))
    assert made.partitions == partitions
    if not made.shortfalls:
        assert made.replicas <= partitions
        assert made.utilisation <= (1 - demand.headroom) * (1 + 1e-4) + 1e-4


def vars_of(value: Demand | Plan) -> dict[str, Any]:
    """The fields of a value with slots."""
    return {name: getattr(value, name) for name in value.__slots__}


def test_ceilings_forgive_binary_fractions() -> None:
    """20,000 x 350 us / 0.7 is 10, and not 10.000000000000002."""
    assert ceiling(20_000 * 350e-6 / 0.7) == 10
    assert ceiling(10.001) == 11


def test_the_sizes_assumed_are_those_of_the_generated_events() -> None:
    """Of input, answer and output, as the demo and the benchmark have them: 10 offers, within a fifth."""
    read, answered, written = [], [], []
    for contact in contacts(200):
        record = Record("contacts", 0, 0, 0, contact.key, contact.value, [("trace", b"1-1")])
        body = GeneratedHistories().body(contact.key.decode())
        event = Decoder().decode(record)
        history = OfferHistory(event.customer_id, 0, 0, decode_history(body))
        output = Encoder().encode(Enriched(event, history, Enrichment("contacts", 0, 0, "1", 1, Status.ENRICHED)))
        beside = len(contact.key) + len(b"trace1-1")
        read.append(beside + len(contact.value or b""))
        answered.append(len(body))
        written.append(beside + len(output))
    assumed = Demand(rate=1, latency=1)
    assert assumed.input_bytes == pytest.approx(mean(read), rel=0.2)
    assert assumed.answer_bytes == pytest.approx(mean(answered), rel=0.2)
    assert assumed.output_bytes == pytest.approx(mean(written), rel=0.2)


# ---- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "per_second"),
    [("20000/s", 20_000), ("20k/s", 20_000), ("1.2M/min", 20_000), ("20,000/s", 20_000), ("72M/h", 20_000),
     ("86400/d", 1), ("60/m", 1)],
)  # fmt: skip
def test_rates_as_people_write_them(rate: str, per_second: float) -> None:
    """Each unit of time."""
    code, stdout, _ = size("--rate", rate, "--latency", "50ms", "--json")
    assert code == 0
    assert json.loads(stdout)["demand"]["rate"] == pytest.approx(per_second)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--rate", "20000", "--latency", "50ms"), "write a number and /s"),
        (("--rate", "0/s", "--latency", "50ms"), "is no rate"),
        (("--rate", "20000/s", "--latency", "50"), "50ms for milliseconds"),
        (("--rate", "20000/s", "--latency", "50ms", "--input-size", "big"), "is no size"),
        (("--rate", "20000/s", "--latency", "50ms", "--order", "lane"), "must be key, partition or none"),
        (("--rate", "20000/s"), "Missing option '--latency'"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], why: str) -> None:
    """What is wrong and what would be right, with exit code 2."""
    code, stdout, stderr = size(*arguments)
    assert (code, stdout) == (2, "")
    assert why in " ".join(stderr.split())


def test_json_has_demand_and_plan() -> None:
    """All that was assumed, and all that came out."""
    code, stdout, _ = size("--rate", "20000/s", "--latency", "50ms", "--json")
    told = json.loads(stdout)
    assert code == 0
    assert told["demand"] == vars_of(Demand(rate=20_000, latency=0.05))
    assert told["plan"] == {**vars_of(plan(Demand(rate=20_000, latency=0.05))), "shortfalls": []}


def test_a_plan_that_does_not_work_exits_1() -> None:
    """It is shown nevertheless, and why is told on stderr; in JSON, in the plan."""
    arguments = ("--rate", "20000/s", "--latency", "50ms", "--partitions", "8", "--order", "none")
    code, stdout, stderr = size(*arguments)
    assert code == 1
    assert "replicas" in stdout
    assert stderr == "enricher size: 11 replicas need as many partitions, and there are 8: too few for the rate\n"
    assert len(json.loads(size(*arguments, "--json")[1])["plan"]["shortfalls"]) == 1


# ---- the document --------------------------------------------------------------------------------------------------

SHOWN = re.findall(r"^```sh\nenricher (size .*?)\n```\n\n```text\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_document_shows_what_the_program_prints(command: str, output: str) -> None:
    """Each plan shown is the one that the command beside it computes."""
    assert size(*shlex.split(command)[1:])[1] == output


def test_the_table_of_rates_is_computed() -> None:
    """Each row of the table is a plan of the program."""
    number = r" ([\d,.]+) \|"
    rows = re.findall(rf"^\|{number} ([\d]+) ms \|{number * 6}$", TEXT, re.MULTILINE)
    assert len(rows) >= 8
    for row in rows:
        rate, latency, *rest = (float(cell.replace(",", "")) for cell in row)
        made = plan(Demand(rate=rate, latency=latency / 1_000))
        shown = [made.replicas, made.groups, made.partitions, made.max_in_flight, made.service_most]
        assert rest == [*shown, pytest.approx(made.broker_writes / 1e6, abs=0.06)], row


def test_the_measurements_are_held_against_the_formula() -> None:
    """Look-ups in flight, divided by the latency that was measured, are the prediction beside each measurement."""
    rows = re.findall(r"^\| (\d+) \| (\d+) ms \| (\d+) ms \| (\d+) \| (\d+) \| (\d+) % \|$", TEXT, re.MULTILINE)
    assert len(rows) >= 3
    for row in rows:
        flying, _, latency, predicted, measured, percent = map(int, row)
        assert predicted == round(flying / latency * 1_000)
        assert in_flight(predicted, latency / 1_000) == pytest.approx(flying, rel=0.01)
        assert percent == round(measured / predicted * 100)
        assert 80 <= percent <= 110


def test_the_cpu_assumed_is_not_below_the_benchmark() -> None:
    """Of the table in the README; a worker that has become dearer has to be sized anew."""
    measured = [int(cell) for cell in re.findall(r"^\|.*\| (\d+) us \|$", README.read_text("utf-8"), re.MULTILINE)]
    assert measured
    assert max(measured) <= CPU_PER_EVENT * 1e6 * 1.5
    assert f"{CPU_PER_EVENT * 1e6:.0f} us" in TEXT
    assert math.isclose(Demand(rate=1, latency=1).cpu, CPU_PER_EVENT)
