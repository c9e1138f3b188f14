"""`make bench ARGS="..."`: run cases against Landbridge and the peers that are installed.

Runs are interleaved (the first of every peer, then the second of every peer), so that a disturbance
of the machine hits all alike. Quote ratios and medians: rates on shared machines mean little. Where
the generator used nearly a core of its own, it was the limit. `lost` counts what did not come, and
what came out of its turn. A peer that fails (closes a connection, does not start) is left out of
that case and started afresh for the next; the table says so, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from tests.benchmarks import aws_backend, bystander, idle
from tests.benchmarks.amqp import AmqpWire
from tests.benchmarks.aws_backend import AWS_CASES
from tests.benchmarks.link import PeerFailed
from tests.benchmarks.load import Load, Options, Result, Wire
from tests.benchmarks.mqtt import MqttWire
from tests.benchmarks.peers import PEERS, Peer
from tests.benchmarks.sqs import SqsLoad
from tests.benchmarks.stomp import StompWire

WIRES: dict[str, Callable[[Options], Wire]] = {
    "amqp": AmqpWire,
    "mqtt": MqttWire,
    "stomp": StompWire,
}

BYSTANDER = "bystander"
IDLE = {"idle": 2_000, "idle-15k": 15_000}
"""Cases of idle connections, and how many."""
HALF = "-half"
"""Behind the name of a case: at half of the rate that each peer reaches in the same run."""
FAILURE_LENGTH_MAX = 200

CASES: dict[str, Options] = {
    "stomp-1x1": Options("stomp", 0),
    "stomp-10x10": Options("stomp", 0, publishers=10, subscribers=10, destinations=10),
    "stomp-rate1k": Options("stomp", 0, rate=1_000, window=1_000, backlog=2_000),
    "mqtt-q0-1x1": Options("mqtt", 0, qos=0, backlog=500),
    "mqtt-q0-fan10": Options("mqtt", 0, qos=0, subscribers=10, backlog=200),
    "mqtt-q0-10x10": Options(
        "mqtt", 0, qos=0, publishers=10, subscribers=10, destinations=10, backlog=100
    ),
    "mqtt-q1-1x1": Options("mqtt", 0, backlog=500),
    "mqtt-q1-50x50-w1": Options(
        "mqtt", 0, publishers=50, subscribers=50, destinations=50, window=1
    ),
    "mqtt-q1-1x1-w1": Options("mqtt", 0, window=1),
    "mqtt-q2-1x1": Options("mqtt", 0, qos=2, backlog=500),
    "mqtt-q1-rate1k": Options("mqtt", 0, rate=1_000, window=1_000),
    "amqp-1x1": Options("amqp", 0, window=200, backlog=2_000),
    "amqp-10x10": Options(
        "amqp", 0, publishers=10, subscribers=10, destinations=10, window=200, backlog=2_000
    ),
    "amqp-unconfirmed": Options("amqp", 0, confirms=False, backlog=2_000),
    "amqp-transient": Options(
        "amqp", 0, confirms=False, persistent=False, automatic_acks=True, backlog=2_000
    ),
    "amqp-fan10": Options("amqp", 0, subscribers=10, window=200, backlog=500, fan_out=True),
    "amqp-rate1k": Options("amqp", 0, rate=1_000, window=2_000, backlog=2_000),
    "sqs-1": Options("sqs", 0),
    "sqs-8": Options("sqs", 0, publishers=8),
}


class Row(msgspec.Struct):
    """One run with what the server used meanwhile."""

    result: Result
    cpu_microseconds: float
    memory_mib: float


def run_once(peer: Peer, options: Options) -> Row:
    """One run of one case; the server's CPU time is taken around the measured window."""
    spent: list[float] = []

    def note() -> None:
        spent.append(peer.cpu_seconds())

    if options.protocol == "sqs":
        result = _run_sqs(options, note)
    else:
        result = Load(WIRES[options.protocol](options), options).run(note, note)
    messages = max(result.received_per_second * options.duration_seconds, 1)
    return Row(result, (spent[1] - spent[0]) / messages * 1e6, peer.memory_mib())


def _run_sqs(options: Options, note: Callable[[], None]) -> Result:
    try:
        return uvloop.run(SqsLoad(options).run(note, note))
    except* PeerFailed as failures:
        raise PeerFailed(str(failures.exceptions[0])) from failures


def run_at_half(peer: Peer, options: Options) -> Row:
    """One run as fast as it goes, and one at half of that rate, which is returned."""
    rate = run_once(peer, options).result.received_per_second / options.copies / 2
    # What is published in a tenth of a second: latencies are of less than that, or of a jam.
    backlog = int(rate / 10) + 1_000
    return run_once(
        peer, msgspec.structs.replace(options, rate=rate, window=backlog, backlog=backlog)
    )


def table(case: str, rows: dict[str, list[Row]]) -> list[str]:
    """One line a peer: medians, and the rate as a multiple of every other peer's."""
    rates = {
        name: statistics.median(row.result.received_per_second for row in each)
        for name, each in rows.items()
    }
    lines = []
    for name, each in rows.items():

        def median(field: str, each: list[Row] = each) -> float:
            return float(statistics.median(getattr(row.result, field) for row in each))

        ratios = ", ".join(
            f"{rates[name] / rate:.1f} x {other}"
            for other, rate in rates.items()
            if other != name and rate
        )
        lines.append(
            f"| {case} | {name} | {rates[name]:,.0f} | {median('delivery_p50'):.2f} /"
            f" {median('delivery_p99'):.2f} | {median('confirm_p50'):.2f} /"
            f" {median('confirm_p99'):.2f} |"
            f" {statistics.median(row.cpu_microseconds for row in each):.1f} |"
            f" {statistics.median(row.memory_mib for row in each):.0f} |"
            f" {median('generator_cores'):.2f} |"
            f" {sum(row.result.lost + row.result.disordered for row in each)} | {ratios} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    cases = [*CASES, BYSTANDER, *IDLE, *AWS_CASES]
    parser.add_argument(
        "--cases",
        default=",".join(cases),
        help=f"of {', '.join(cases)}; with {HALF} behind its name, a case at half of its rate",
    )
    parser.add_argument("--peers", default=",".join(PEERS), help="of " + ", ".join(PEERS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured, each run")
    arguments = parser.parse_args()
    wanted_cases = arguments.cases.split(",")
    on_aws = [case for case in wanted_cases if case in AWS_CASES]
    on_peers = [case for case in wanted_cases if case not in AWS_CASES]
    failures = _measure_peers(on_peers, arguments) if on_peers else []
    if on_aws:
        aws_backend.measure(on_aws, arguments.runs, arguments.seconds, uvloop.run)
    for failure in failures:
        print("left out:", failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


class Contest:
    """The peers that run; `failures` says who was left out of which case, and why."""

    def __init__(self, peers: list[Peer]) -> None:
        self.peers = peers
        self.failures: list[str] = []

    def start(self) -> None:
        for peer in list(self.peers):
            self._start(peer)

    def stop(self) -> None:
        for peer in self.peers:
            peer.stop()

    def leave_out(self, peer: Peer, case: str, reason: PeerFailed) -> None:
        """Say so in the table, and start the peer afresh for the cases to come."""
        text = " ".join(str(reason).split())[:FAILURE_LENGTH_MAX]
        print(f"| {case} | {peer.name} | left out: {text} | | | | | | | |", flush=True)
        self.failures.append(f"{peer.name}, {case}: {text}")
        peer.stop()
        self._start(peer)

    def _start(self, peer: Peer) -> None:
        try:
            peer.start()
        except PeerFailed as reason:
            self.failures.append(f"{peer.name}: {reason}")
            self.peers.remove(peer)


def _measure_peers(cases: list[str], arguments: argparse.Namespace) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="landbridge-bench-") as folder:
        wanted = [PEERS[name] for name in arguments.peers.split(",")]
        peers = [each(Path(folder)) for each in wanted if each.installed()]
        missing = [each.name for each in wanted if not each.installed()]
        if missing:
            print("not installed, left out:", ", ".join(missing), file=sys.stderr)
        contest = Contest(peers)
        try:
            contest.start()
            measure(contest, cases, arguments.runs, arguments.seconds)
        finally:
            contest.stop()
    return contest.failures


def _measure_bystander(contest: Contest, runs: int) -> None:
    for peer in contest.peers:
        if peer.name != "landbridge":
            continue
        for _ in range(runs):
            quiet, beside = bystander.measure(peer.ports["stomp"])
            for what, result in (("quiet", quiet), ("beside abuse", beside)):
                print(
                    f"| {BYSTANDER} | {peer.name}, {what} | {result.received_per_second:,.0f}"
                    f" | {result.delivery_p50:.2f} / {result.delivery_p99:.2f}"
                    f" | {result.confirm_p50:.2f} / {result.confirm_p99:.2f} | | |"
                    f" {result.generator_cores:.2f} | {result.lost + result.disordered} |"
                    f" p99 {result.delivery_p99 / quiet.delivery_p99:.2f} x quiet |",
                    flush=True,
                )


def _measure_idle(contest: Contest, case: str) -> None:
    for peer in list(contest.peers):
        for protocol in ("mqtt", "amqp", "stomp"):
            if protocol not in peer.ports or peer not in contest.peers:
                continue
            try:
                # Memory once used is not given back, so each protocol has a fresh process.
                peer.stop()
                peer.start()
                cost = idle.measure(peer, protocol, IDLE[case])
            except PeerFailed as reason:
                contest.leave_out(peer, f"{case} {protocol}", reason)
                continue
            print(
                f"| {case} {protocol} | {peer.name} | {cost.memory_kib:.1f} KiB a connection"
                f" | {cost.connect_microseconds:.0f} us CPU to connect | | | | | | |",
                flush=True,
            )


def measure(contest: Contest, cases: list[str], runs: int, seconds: float) -> None:
    """Print the table, case by case."""
    print("| case | broker | msg/s | delivery p50 / p99 ms | confirm p50 / p99 ms", end="")
    print(" | CPU us/msg | MiB | generator's cores | lost | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for case in cases:
        if case == BYSTANDER:
            _measure_bystander(contest, runs)
            continue
        if case in IDLE:
            _measure_idle(contest, case)
            continue
        run = run_at_half if case.endswith(HALF) else run_once
        options = msgspec.structs.replace(CASES[case.removesuffix(HALF)], duration_seconds=seconds)
        rows = _rows(contest, case, options, runs, run)
        print("\n".join(table(case, rows)), flush=True)


def _rows(
    contest: Contest, case: str, options: Options, runs: int, run: Callable[[Peer, Options], Row]
) -> dict[str, list[Row]]:
    """What each peer that got through all runs measured."""
    rows: dict[str, list[Row]] = {
        peer.name: []
        for peer in contest.peers
        if options.protocol in peer.ports and options.qos <= peer.qos_max
    }
    for _ in range(runs):
        for peer in list(contest.peers):
            if peer.name not in rows:
                continue
            here = msgspec.structs.replace(options, port=peer.ports[options.protocol])
            try:
                rows[peer.name].append(run(peer, here))
            except PeerFailed as reason:
                del rows[peer.name]
                contest.leave_out(peer, case, reason)
    return rows


if __name__ == "__main__":
    main()
