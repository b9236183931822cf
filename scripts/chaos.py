"""Break a whole service on purpose, and count what it promised: nothing lost, nothing paid or delivered twice.

    python scripts/chaos.py --kills 200 --db postgres --json

A real API, Redis, database and worker processes; customers who order, cancel and listen at random; a fault every few
seconds from a seeded list. Then it waits for rest and counts from the database, the store and what clients were told.
The exit code is 0 when every promise was kept, 1 when one broke (the evidence stays in a folder that is named).
"""

import argparse
import json
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from chaos_closing import ask_all_again, check_books, wait_for_rest
from chaos_crashes import Crashes, crossings_of
from chaos_customers import Customer, begin_all
from chaos_faults import Faults
from chaos_ground import Ground, GroundLost
from chaos_notes import Notes
from chaos_plan import Fault, Plan, mixed, named
from chaos_verdict import ZEROS, Counting, Report, faults_of
from chaos_watch import FileWatch, RingWatch

from posegen.statuses import ItemStatus

_TICK_S = 0.05
_TOLD_EVERY_S = 5.0
USUAL_KILLS = 10
_FEED_PICTURES = 36
_FEED_WITHIN_S = 120.0
_INFLICT_WITHIN_S = 30.0


class Run:
    """One run: start, break, rest, count."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.began = time.monotonic()
        self.ground = Ground(plan)
        self.calls = Notes(self.ground.folder / "customers.jsonl")
        self.faults = Faults(self.ground)
        self.closing = threading.Event()
        self.files = FileWatch(self.ground)
        self.customers: Sequence[Customer] = []
        self.skipped: Counter[str] = Counter()
        self._told_at = 0.0
        self._random = random.Random(plan.seed + 2)
        self._feeding = ThreadPoolExecutor(1, thread_name_prefix="feeder")

    def run(self) -> Report:
        """Do it all and return the figures. Raises GroundLost when nothing could be tried."""
        self.ground.start()
        rings = RingWatch(self.ground)
        self.customers = begin_all(self.ground, self.calls, self.closing)
        self._feed(self.plan.queued)
        for thread in (self.files, rings, *self.customers[1:]):
            thread.start()
        self._break()
        crashes = Crashes(self.ground, self.faults, self.tick, lambda: self._feed(1), self._cancel_one)
        crashes.everywhere(self.plan.crash_points, self.plan.acts)
        self._order_until_enough()
        while self.faults.pending:
            self.tick()
        self.closing.set()
        wait_for_rest(self.ground, self.customers, self.tick, self.plan.rest_s)
        ask_all_again(self.customers, self.calls, self.files)
        for watch in (self.files, rings):
            watch.end()
        counting = Counting(self.ground, self.customers, self.calls)
        counting.report.faults, counting.report.skipped = faults_of(self.faults.done), faults_of(self.skipped)
        counting.report.crash_points, counting.report.crash_points_missed = crashes.done, crashes.missed
        counting.report.crash_points_unreached = self.ground.unreached_points()
        report = counting.figures(self.files, rings)
        report.reconcile_ok = check_books(self.ground, report)
        report.broken += [f"crash point {point} was never reached" for point in crashes.missed]
        report.duration_s = round(time.monotonic() - self.began, 1)
        return report

    def tick(self) -> None:
        """Look after the processes, end what is due, tell how far it is; then a short pause."""
        self.ground.look_after()
        self.faults.end_due()
        if not self.plan.quiet and time.monotonic() - self._told_at > _TOLD_EVERY_S:
            self._told_at = time.monotonic()
            self._tell()
        time.sleep(_TICK_S)

    def close(self, *, keep: bool) -> None:
        """End everything, and delete the folder unless it is to be kept."""
        self.closing.set()
        self._feeding.shutdown(wait=False, cancel_futures=True)
        for customer in self.customers:
            customer.close()
        self.ground.stop()
        self.calls.close()
        self.ground.notes.close()
        if not keep:
            self.ground.remove_database()
            shutil.rmtree(self.ground.folder, ignore_errors=True)

    def _break(self) -> None:
        for fault in self.plan.schedule():
            due = time.monotonic() + self.plan.every_s * self._random.uniform(0.5, 1.5)
            while time.monotonic() < due:
                self.tick()
            self._feed(self.plan.queued)
            deadline = time.monotonic() + _INFLICT_WITHIN_S
            while not (done := self.faults.inflict(fault)) and time.monotonic() < deadline:
                self._feed(1)  # most faults need somebody who is at work
                self._wait(0.2)
            self.skipped[fault] += not done

    def _feed(self, pictures: int) -> None:
        """Let the feeder order until so many pictures are queued, as far as the time suffices."""
        deadline = time.monotonic() + _FEED_WITHIN_S
        while 0 <= self.faults.count(ItemStatus.QUEUED) < pictures and time.monotonic() < deadline:
            order = self._feeding.submit(self.customers[0].order, _FEED_PICTURES)
            while not order.done():
                self.tick()  # the API may be stopped, and we are who lets it go on

    def _cancel_one(self) -> None:
        """Let the feeder order and change its mind."""

        def change_its_mind() -> None:
            self.customers[0].order(_FEED_PICTURES)
            self.customers[0].cancel()

        done = self._feeding.submit(change_its_mind)
        while not done.done():
            self.tick()

    def _order_until_enough(self) -> None:
        """Let the customers go on until there were as many orders as the plan wants, within the time of the rest."""
        deadline = time.monotonic() + self.plan.rest_s / 2
        while sum(one.taken for one in self.customers) < self.plan.orders and time.monotonic() < deadline:
            self.tick()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tick()

    def _tell(self) -> None:
        done = ", ".join(f"{name} {count}" for name, count in self.faults.done.items() if count)
        orders = sum(len(one.sent) for one in self.customers)
        waiting = [self.faults.count(status) for status in (ItemStatus.QUEUED, ItemStatus.DRAWING)]
        told = f"{time.monotonic() - self.began:5.0f} s  {orders} orders, {waiting[0]} queued, {waiting[1]} drawing"
        print(f"{told}; {done or 'no fault yet'}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, return the exit code."""
    asked = _parse(arguments)
    try:
        plan = _plan(asked)
    except ValueError as error:
        print(f"--faults: {error}; choose from {', '.join(Fault)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run = Run(plan)
    told = f"This takes at most {plan.most_s / 60:.0f} minutes; everything lives in {run.ground.folder} meanwhile."
    print(told, file=sys.stderr, flush=True)
    broken = True
    try:
        report = run.run()
        broken = not report.kept
    except GroundLost as lost:
        print(f"{lost}\nEvidence: {run.ground.folder}", file=sys.stderr)
        return 2
    finally:
        run.close(keep=broken or plan.keep)
    if broken or plan.keep:
        postgres = f" and {run.ground.postgres.folder}" if run.ground.postgres else ""
        report.evidence = f"{run.ground.folder}{postgres}"
    _print(report, as_json=asked.json)
    return int(broken)


def _print(report: Report, *, as_json: bool) -> None:
    told = report.as_json()
    if as_json:
        print(json.dumps(told, indent=1))
    else:
        for name, value in told.items():
            if name != "broken":
                print(f"{name:<28} {value}{'   <-- must be 0' if name in ZEROS and value else ''}")
    for sentence in report.broken[:40]:
        print(sentence, file=sys.stderr)
    if report.evidence:
        print(f"Evidence: {report.evidence}", file=sys.stderr)


def _plan(asked: argparse.Namespace) -> Plan:
    """Return what the command line asks for. Raises ValueError for an unknown fault or act."""
    kills = USUAL_KILLS if asked.kills is None else asked.kills
    if asked.faults is not None:
        faults = named(asked.faults, kills)
    elif asked.kills is None and (asked.crash_points or asked.ghosts):
        faults = {}
    else:
        faults = mixed(kills, asked.db)
    if asked.ghosts:
        faults[Fault.WORKER_STOP] = asked.ghosts
    crossings_of(asked.acts)  # a wrong name is told before anything starts
    if asked.db == "sqlite" and faults.get(Fault.DATABASE_KILL):
        raise ValueError(f"{Fault.DATABASE_KILL} needs --db postgres")
    given = {
        name: getattr(asked, name)
        for name in Plan.__slots__
        if name not in ("faults", "crash_points") and hasattr(asked, name)
    }
    plan = Plan(faults=faults, crash_points=asked.each * asked.crash_points, **given)
    return replace(plan, pause_s=plan.pause_s if asked.pause_given else max(30.0, plan.lease_s + 10.0))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_HOW_LONG,
    )
    usual = Plan()
    parser.add_argument("--kills", type=int, help="SIGKILLs of workers (10); other faults come in proportion")
    parser.add_argument(
        "--ghosts", type=int, default=0, help="workers that are stopped past their lease; alone: only those"
    )
    parser.add_argument("--faults", help="only these: redis-kill=50,redis-flush=5 (a bare name: --kills of it)")
    parser.add_argument("--crash-points", action="store_true", help="let a process die at every crash point")
    parser.add_argument("--acts", default=usual.acts, help="only crash points of these: commit.cancel,redis.publish")
    parser.add_argument("--each", type=int, default=3, help="how often at each crash point (3)")
    parser.add_argument("--trace", action="store_true", help="list the crash points that were never reached")
    parser.add_argument("--db", choices=("sqlite", "postgres"), default=usual.db)
    parser.add_argument("--engine", choices=("fake", "tiny"), default=usual.engine)
    parser.add_argument("--orders", type=int, default=usual.orders, help="go on until there were so many")
    parser.add_argument(
        "--queued", type=int, default=usual.queued, help="keep so many pictures waiting during the faults"
    )
    for name, what in _NUMBERS.items():
        default = getattr(usual, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=what)
    parser.add_argument("--folder", type=Path, help="where everything lives (default: a new one under /tmp)")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when nothing broke")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    asked = parser.parse_args(arguments)
    asked.pause_given = asked.pause_s != usual.pause_s
    return asked


_NUMBERS = {
    "seed": "of the faults and the customers",
    "workers": "worker processes",
    "customers": "customers",
    "think_s": "seconds that a customer thinks between two deeds, on average",
    "every_s": "seconds between two faults, give or take half",
    "pause_s": "seconds that a stopped worker is stopped (at least its lease and 10 s)",
    "away_s": "seconds that Redis, PostgreSQL or the store is away, at most",
    "lease_s": "LEASE_S of the service",
    "step_s": "seconds of one step of the fake engine",
    "rest_s": "seconds to wait for rest at the end, at most",
}
_HOW_LONG = """The big runs (fake engine; in minutes on two quiet cores; each says first how long it takes at most):
  --db sqlite   --faults worker-kill=200 --orders 500                          17
  --db postgres --faults worker-kill=200 --orders 500                          17
  --db postgres --kills 200 --orders 500                      (every fault)    35
  --engine tiny --faults worker-kill=20 --every-s 20                           10
  --db postgres --faults redis-kill=50,redis-flush=5 --queued 1000              8
  --db postgres --ghosts 50 --lease-s 5 --pause-s 15 --every-s 6 --workers 4    8
  --db postgres --crash-points --lease-s 3                                     25
  --db postgres --faults database-kill=50                                       8
How soon a dead worker's pictures are taken over is judged only where no fault keeps the database from everybody."""


if __name__ == "__main__":
    sys.exit(main())
