"""STOMP scripts: acknowledgements and transactions."""

from __future__ import annotations

from tests.interop.side_by_side import Outcome
from tests.interop.stomp_script import (
    connected,
    left,
    script,
    sent,
    sent_by_another,
    subscribed,
)
from tests.support.stomp_wire import reference

for _version in ("1.0", "1.1", "1.2"):

    @script(_version)
    def cumulative(port: int, version: str) -> Outcome:
        queue = f"/queue/cumulative-{version}"
        with connected(port, version) as wire:
            subscribed(wire, queue, ack="client")
            sent_by_another(port, queue, "a", "b", "c")
            messages = [wire.expect("MESSAGE") for _ in range(3)]
            wire.settle("ACK", messages[1], receipt="ack")
            wire.expect("RECEIPT")
        return [*map(str, messages), *left(port, queue)]

    @script(_version)
    def individual(port: int, version: str) -> Outcome:
        queue = f"/queue/individual-{version}"
        with connected(port, version) as wire:
            subscribed(wire, queue, ack="client-individual")
            sent_by_another(port, queue, "a", "b", "c")
            messages = [wire.expect("MESSAGE") for _ in range(3)]
            wire.settle("ACK", messages[1], receipt="ack")
            wire.expect("RECEIPT")
        return [*map(str, messages), *left(port, queue)]


@script()
def auto_settles(port: int) -> Outcome:
    sent_by_another(port, "/queue/auto", "a", "b")
    return [*left(port, "/queue/auto"), "then", *left(port, "/queue/auto")]


@script()
def acking_twice(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/twice", ack="client-individual")
        sent(wire, "/queue/twice", "a")
        message = wire.expect("MESSAGE")
        wire.settle("ACK", message, receipt="1")
        wire.settle("ACK", message, receipt="2")
        return wire.quiet()


@script()
def acking_what_a_cumulative_ack_took(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/took", ack="client")
        sent_by_another(port, "/queue/took", "a", "b")
        messages = [wire.expect("MESSAGE") for _ in range(2)]
        wire.settle("ACK", messages[1], receipt="1")
        wire.settle("ACK", messages[0], receipt="2")
        return wire.quiet()


for _command in ("ACK", "NACK"):

    @script(_command)
    def settling_the_unknown(port: int, command: str) -> Outcome:
        with connected(port) as wire:
            wire.frame(command, {"id": "unknown", "receipt": "1"})
            return wire.quiet()

    @script(_command)
    def settling_nothing(port: int, command: str) -> Outcome:
        with connected(port) as wire:
            wire.frame(command, {"receipt": "1"})
            return wire.quiet()


@script()
def acking_in_mode_auto(port: int) -> Outcome:
    with connected(port, "1.1") as wire:
        subscribed(wire, "/queue/ack-auto", ack="auto")
        sent(wire, "/queue/ack-auto", "a")
        wire.settle("ACK", wire.expect("MESSAGE"), receipt="1")
        return wire.quiet()


@script()
def the_header_ack_in_mode_auto(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/ack-header", ack="auto")
        sent(wire, "/queue/ack-header", "a")
        return ["ack" if "ack" in wire.expect("MESSAGE").headers else "none"]


@script()
def acking_after_unsubscribe(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/late", ack="client-individual")
        sent(wire, "/queue/late", "a")
        message = wire.expect("MESSAGE")
        wire.frame("UNSUBSCRIBE", {"id": "s", "receipt": "u"})
        wire.expect("RECEIPT")
        wire.settle("ACK", message, receipt="1")
        return wire.quiet()


@script()
def acking_in_1_1_without_subscription(port: int) -> Outcome:
    with connected(port, "1.1") as wire:
        subscribed(wire, "/queue/without", ack="client")
        sent(wire, "/queue/without", "a")
        message = wire.expect("MESSAGE")
        wire.frame("ACK", {"message-id": message.headers["message-id"], "receipt": "1"})
        return wire.quiet()


@script()
def acking_by_another_connection(port: int) -> Outcome:
    with connected(port) as wire, connected(port) as other:
        subscribed(wire, "/queue/foreign", ack="client-individual")
        sent(wire, "/queue/foreign", "a")
        other.settle("ACK", wire.expect("MESSAGE"), receipt="1")
        return other.quiet()


@script()
def nack_and_again(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/nack", ack="client-individual")
        sent(wire, "/queue/nack", "a")
        wire.settle("NACK", wire.expect("MESSAGE"))
        again = wire.read()
        return [str(again)]


@script()
def nack_without_requeue(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/nack-no", ack="client-individual")
        sent(wire, "/queue/nack-no", "a")
        wire.settle("NACK", wire.expect("MESSAGE"), requeue="false", receipt="n")
        return wire.quiet()


@script()
def nack_in_mode_client(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/nack-all", ack="client")
        sent_by_another(port, "/queue/nack-all", "a", "b", "c")
        messages = [wire.expect("MESSAGE") for _ in range(3)]
        wire.settle("NACK", messages[1])
        return [str(wire.read()), str(wire.read()), *wire.quiet()]


@script("1.0")
@script("1.2")
def an_ack_with_the_headers_of_its_message(port: int, version: str) -> Outcome:
    with connected(port, version) as wire:
        subscribed(wire, f"/queue/ack-copied-{version}", ack="client")
        sent(wire, f"/queue/ack-copied-{version}", "some words")
        message = wire.expect("MESSAGE")
        headers = {**message.headers, **reference(version, message), "content-length": "10"}
        wire.frame("ACK", {**headers, "receipt": "1"})
        return [str(wire.read())]


@script()
def nack_in_1_0(port: int) -> Outcome:
    with connected(port, "1.0") as wire:
        subscribed(wire, "/queue/nack-old", ack="client")
        sent(wire, "/queue/nack-old", "a")
        wire.settle("NACK", wire.expect("MESSAGE"), receipt="1")
        return sorted(wire.quiet())


@script()
def a_lost_connection_gives_back(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/lost", ack="client")
        sent(wire, "/queue/lost", "a", "b")
        first = [str(wire.expect("MESSAGE")) for _ in range(2)]
    return [*first, *left(port, "/queue/lost")]


@script()
def a_prefetch_of_one(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/prefetch", ack="client", prefetch_count="1")
        sent_by_another(port, "/queue/prefetch", "a", "b", "c")
        first = wire.expect("MESSAGE")
        said = [str(first), *wire.quiet()]
        wire.settle("ACK", first)
        return [*said, "acked", *wire.quiet()]


@script()
def activemqs_prefetch_of_one(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/prefetch-a", ack="client", **{"activemq.prefetchSize": "1"})
        sent_by_another(port, "/queue/prefetch-a", "a", "b", "c")
        first = wire.expect("MESSAGE")
        said = [str(first), *wire.quiet()]
        wire.settle("ACK", first)
        return [*said, "acked", *wire.quiet()]


@script()
def a_transaction_is_seen_when_it_commits(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/tx")
        wire.frame("BEGIN", {"transaction": "t"})
        for body in (b"a", b"b"):
            wire.frame("SEND", {"destination": "/queue/tx", "transaction": "t"}, body)
        wire.frame("SEND", {"destination": "/queue/tx"}, b"outside")
        before = wire.quiet()
        wire.frame("COMMIT", {"transaction": "t"})
        return [*before, "commit", *wire.quiet()]


@script()
def an_aborted_transaction(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/tx-abort")
        wire.frame("BEGIN", {"transaction": "t"})
        wire.frame("SEND", {"destination": "/queue/tx-abort", "transaction": "t"}, b"a")
        wire.frame("ABORT", {"transaction": "t", "receipt": "abort"})
        return wire.quiet()


@script()
def a_transaction_ends_with_its_connection(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("BEGIN", {"transaction": "t"})
        headers = {"destination": "/queue/tx-end", "transaction": "t"}
        wire.frame("SEND", headers, b"a")
        wire.frame("DISCONNECT", {"receipt": "bye"})
        said = wire.done()
    return [*said, *left(port, "/queue/tx-end")]


for _command in ("COMMIT", "ABORT", "SEND", "ACK"):

    @script(_command)
    def an_unknown_transaction(port: int, command: str) -> Outcome:
        with connected(port) as wire:
            headers = {"destination": "/queue/tx-unknown", "transaction": "t", "receipt": "1"}
            wire.frame(command, {**headers, "id": "1"})
            return wire.quiet()


for _command in ("BEGIN", "COMMIT", "ABORT"):

    @script(_command)
    def no_transaction_header(port: int, command: str) -> Outcome:
        with connected(port) as wire:
            wire.frame(command, {"receipt": "1"})
            return wire.quiet()


@script()
def beginning_twice(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("BEGIN", {"transaction": "t", "receipt": "1"})
        wire.frame("BEGIN", {"transaction": "t", "receipt": "2"})
        return wire.quiet()


@script()
def acks_in_a_transaction_that_aborts(port: int) -> Outcome:
    queue = "/queue/tx-ack-abort"
    with connected(port) as wire:
        subscribed(wire, queue, ack="client-individual")
        sent(wire, queue, "a")
        message = wire.expect("MESSAGE")
        wire.frame("BEGIN", {"transaction": "t"})
        wire.settle("ACK", message, transaction="t")
        wire.frame("ABORT", {"transaction": "t", "receipt": "aborted"})
        said = wire.quiet()
    return [*said, *left(port, queue)]


@script()
def acks_in_a_transaction_that_commits(port: int) -> Outcome:
    queue = "/queue/tx-ack"
    with connected(port) as wire:
        subscribed(wire, queue, ack="client-individual")
        sent(wire, queue, "a", "b")
        messages = [wire.expect("MESSAGE") for _ in range(2)]
        wire.frame("BEGIN", {"transaction": "t"})
        wire.settle("ACK", messages[0], transaction="t")
        wire.frame("SEND", {"destination": queue + "2", "transaction": "t"}, b"answer")
        wire.frame("COMMIT", {"transaction": "t", "receipt": "committed"})
        said = wire.quiet()
    return [*said, *left(port, queue), *left(port, queue + "2")]


@script()
def acks_in_a_transaction_that_is_left_open(port: int) -> Outcome:
    queue = "/queue/tx-ack-open"
    with connected(port) as wire:
        subscribed(wire, queue, ack="client-individual")
        sent(wire, queue, "a")
        message = wire.expect("MESSAGE")
        wire.frame("BEGIN", {"transaction": "t"})
        wire.settle("ACK", message, transaction="t")
        wire.frame("SEND", {"destination": "/queue/none", "receipt": "1"})
        wire.expect("RECEIPT")
    return left(port, queue)


@script()
def two_transactions_at_once(port: int) -> Outcome:
    queue = "/queue/tx-two"
    with connected(port) as wire:
        for name in ("t", "u"):
            wire.frame("BEGIN", {"transaction": name})
            wire.frame("SEND", {"destination": queue, "transaction": name}, name.encode())
        wire.frame("COMMIT", {"transaction": "u"})
        wire.frame("ABORT", {"transaction": "t", "receipt": "1"})
        said = wire.quiet()
    return [*said, *left(port, queue)]
