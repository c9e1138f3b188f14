"""Topic names and topic filters: what is legal, and the form of shared subscriptions (MQTT 5, 4.7
and 4.8).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from adapters.mqtt.errors import malformed, protocol_error

SHARE_PREFIX: Final = "$share/"


class TopicFilter(NamedTuple):
    """A filter as it was sent, and its two parts; `share_name` is None where it is not a shared
    one.
    """

    text: str
    pattern: str
    share_name: str | None = None


def check_topic_name(topic: str) -> None:
    """Raise for what cannot be published to; that it holds no U+0000 was checked as a string."""
    if not topic:  # MQTT 5, 4.7.3 [MQTT-4.7.3-1]
        raise malformed("a topic name must have at least one character")
    if "+" in topic or "#" in topic:  # MQTT 5, 3.3.2.1 [MQTT-3.3.2-2]
        raise malformed(f"topic name {shown(topic)} has wildcards")


def parse_topic_filter(text: str) -> TopicFilter:
    """Check a filter and take a shared one apart. Raises where the specification says so."""
    if not text.startswith(SHARE_PREFIX):
        _check_pattern(text, text)
        return TopicFilter(text, text)
    share_name, separator, pattern = text[len(SHARE_PREFIX) :].partition("/")
    if not share_name:  # MQTT 5, 4.8.2 [MQTT-4.8.2-1]
        raise protocol_error(f"shared subscription {shown(text)} has no share name")
    if "+" in share_name or "#" in share_name:  # [MQTT-4.8.2-2]
        raise protocol_error(f"the share name of {shown(text)} has wildcards")
    if not separator or not pattern:  # [MQTT-4.8.2-2]
        raise protocol_error(f"shared subscription {shown(text)} has no topic filter")
    _check_pattern(pattern, text)
    return TopicFilter(text, pattern, share_name)


def _check_pattern(pattern: str, text: str) -> None:
    if not pattern:  # [MQTT-4.7.3-1]
        raise malformed("a topic filter must have at least one character")
    if "#" in pattern:  # 4.7.1.2 [MQTT-4.7.1-1]
        at = pattern.index("#")
        if at != len(pattern) - 1 or (at and pattern[at - 1] != "/"):
            raise malformed(f"in topic filter {shown(text)} `#` is not a last level of its own")
    if "+" in pattern:  # 4.7.1.3 [MQTT-4.7.1-2]
        for level in pattern.split("/"):
            if "+" in level and level != "+":
                raise malformed(f"in topic filter {shown(text)} `+` is not a level of its own")


def shown(text: str) -> str:
    """A topic as an error message shows it: short, and without surprises."""
    return ascii(text if len(text) <= 40 else text[:40] + "...")
