"""``python -m tests.chaos``: play the schedules of seeds, one or many, and tell which were clean.

Exit codes: 0 all were clean; 1 some were not; 2 wrong usage.
"""

import argparse
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.run import GUARANTEES, command, play
from tests.chaos.schedule import schedule
from tests.harness.selection import KafkaOfSession

FOLDER = Path(__file__).parent.parent.parent / ".cache" / "chaos"


def main() -> int:
    """Run what the command line asks for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then workers and broker are ended
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="play the schedule of one seed")
    parser.add_argument("--seeds", type=_seeds, help="play those of several, such as 1-25")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long each is (default: 1)")
    parser.add_argument("--guarantee", choices=[*GUARANTEES, "both"], default="both")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (default: 1)")
    parser.add_argument("--deadline", type=float, default=240.0, help="seconds to catch up at the end (default: 240)")
    parser.add_argument("--show", action="store_true", help="show the schedule, and play nothing")
    arguments = parser.parse_args()
    seeds = arguments.seeds or [1 if arguments.seed is None else arguments.seed]
    guarantees = GUARANTEES if arguments.guarantee == "both" else (arguments.guarantee,)
    if arguments.show:
        _say("\n\n".join(schedule(seed, arguments.minutes * 60).describe() for seed in seeds))
        return 0
    runs = [(seed, guarantee) for seed in seeds for guarantee in guarantees]
    if len(runs) == 1:
        return 0 if _one(*runs[0], arguments.minutes, arguments.deadline) else 1
    with ThreadPoolExecutor(arguments.jobs) as pool:
        clean = list(pool.map(lambda run: _apart(run[0], run[1], arguments.minutes, arguments.deadline), runs))
    failed = [f"{guarantee} {seed}" for (seed, guarantee), ok in zip(runs, clean, strict=True) if not ok]
    _say(f"{sum(clean)} of {len(runs)} runs were clean" + (f"; not clean: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _one(seed: int, guarantee: str, minutes: float, deadline: float) -> bool:
    plan = schedule(seed, minutes * 60)
    session = KafkaOfSession()
    folder = FOLDER / f"{guarantee}-{seed}"
    try:
        outcome = play(plan, guarantee, session.shared(), folder, deadline)
    finally:
        session.close()
    _say(f"{'NOT CLEAN' if outcome.wrong else 'clean'}: {outcome.summary}")
    for line in (*outcome.wrong, *(f"pardoned: {end}" for end in outcome.pardoned)):
        _say(f"  {line}")
    if outcome.wrong:
        _say(f"  logs: {folder}\n  again: {command(plan, guarantee)}")
    return not outcome.wrong


def _apart(seed: int, guarantee: str, minutes: float, deadline: float) -> bool:
    """In a process of its own, so that one run's threads and brokers do not meet another's."""
    words = ["--seed", seed, "--guarantee", guarantee, "--minutes", minutes, "--deadline", deadline]
    return subprocess.run([sys.executable, "-m", "tests.chaos", *map(str, words)], check=False).returncode == 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
