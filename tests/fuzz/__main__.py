"""`make fuzz ARGS="--seconds 600 --only stomp"`: feed mutated input to the decoders for long.

Each round has a seed of its own. A failure prints it, and `--seed N` plays that round again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable

from adapters.mqtt.server import ServerConnection as MqttServer
from tests.fuzz import test_amqp_decoder, test_mqtt_decoder, test_stomp_decoder


def _stomp(dice: random.Random) -> None:
    test_stomp_decoder.drive(test_stomp_decoder.mutated(dice), dice)


def _mqtt(dice: random.Random) -> None:
    connection = MqttServer(test_mqtt_decoder.LIMITS, 0.0)
    test_mqtt_decoder.feed(connection, test_mqtt_decoder.mutated(dice), dice)


def _amqp(dice: random.Random) -> None:
    test_amqp_decoder.drive(test_amqp_decoder.conversation(dice), dice)


TARGETS: dict[str, Callable[[random.Random], None]] = {
    "amqp": _amqp,
    "mqtt": _mqtt,
    "stomp": _stomp,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each decoder")
    parser.add_argument("--only", choices=sorted(TARGETS), help="one decoder")
    parser.add_argument("--seed", type=int, help="play one round again, with its traceback")
    arguments = parser.parse_args()
    failed = False
    for name, target in TARGETS.items():
        if arguments.only in (None, name):
            if arguments.seed is not None:
                target(random.Random(arguments.seed))
            else:
                failed |= not _fuzz(name, target, arguments.seconds)
    return int(failed)


def _fuzz(name: str, target: Callable[[random.Random], None], seconds: float) -> bool:
    first = seed = random.SystemRandom().randrange(2**48)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            target(random.Random(seed))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            print(f"{name}: {error!r}; again with: --only {name} --seed {seed}")
            return False
        seed += 1
    print(f"{name}: {seed - first} rounds, nothing found")
    return True


if __name__ == "__main__":
    sys.exit(main())
