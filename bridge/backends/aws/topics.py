"""The faces of topics in SNS: which are there, who listens to them, and what comes in from them.

A topic is looked for, or made, when somebody first publishes to it or subscribes to it here; what
is published meanwhile waits for the answer. Under `publish: auto` it is sent there while anybody
besides Landbridge is subscribed, which SNS is asked about now and then. Where SNS cannot be asked,
`auto` does without it unless somebody is known to be subscribed, and everything else is refused
with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from bridge.backends.aws.ingest import Ingest, ingest_queue, topic_of_ingest_queue
from bridge.backends.aws.node import Node
from bridge.backends.aws.options import AwsOptions, Mode
from bridge.backends.aws.publishing import SIZE_DEFAULT, Publisher
from bridge.backends.aws.sns import SnsControl
from bridge.messaging.errors import MessagingError, StoreUnavailable, TopicDoesNotExist
from bridge.messaging.faces import face_name
from bridge.messaging.identifiers import parse_queue_url, topic_arn
from bridge.messaging.model import DEFAULT_NAMESPACE, QueueSettings, TopicName
from bridge.messaging.names import FIFO_SUFFIX, sns_name, tags_of_original

if TYPE_CHECKING:
    from bridge.backends.aws.directory import Directory
    from bridge.backends.aws.service import Random
    from bridge.messaging.faces import Incoming, TopicUses
    from bridge.messaging.model import Message, UnitOfWork

_log = logging.getLogger("landbridge.aws")

CHECKED_AT_ONCE_MAX: Final = 8
"""Topics that SNS is asked about at the same time."""


class TopicFace:
    """What messages to a topic are sent to; see `bridge.messaging.ports.Queue`.

    `always`: to be published whether anybody listens or not.
    """

    transient = False
    created_at = 0
    modified_at = 0
    consumer_count = 0
    settings = QueueSettings()

    def __init__(self, topic: AwsTopic, *, always: bool) -> None:
        self.name = face_name(topic.name)
        self.always = always
        self.deleted = False
        self._topic = topic

    @property
    def known(self) -> bool:
        return self.always or not self._topic.opening

    def send(self, unit: UnitOfWork, index: int, message: Message, deadline: float) -> None:
        self._topic.send(self, unit, index, message, deadline)


class AwsTopic:
    """One topic of the catalogue and the one in SNS that it is."""

    def __init__(self, node: Node, topics: AwsTopics, name: TopicName, *, fifo: bool) -> None:
        self._node = node
        self._topics = topics
        self._options = topics.options
        self.name = name
        self.pinned = topics.options.topic_pinned(name)
        self.fifo = (self.pinned or "").endswith(FIFO_SUFFIX) or (fifo and self.pinned is None)
        self.mode = topics.options.publish_of(name)
        self.arn: str | None = None
        self.check_at = 0.0
        self.error: MessagingError | None = None
        self.publisher = Publisher(node, self, topics.node_id)
        self.ingest: Ingest | None = None
        self._target: TopicFace | None = None
        self._face: TopicFace | None = None
        self._opening: asyncio.Future[None] | None = None
        self._tried = False
        self._heard = False
        """Whether somebody outside listened when SNS was asked last."""
        self._waiting: list[tuple[TopicFace, UnitOfWork, int, Message, float]] = []

    @property
    def sns_name(self) -> str:
        """What SNS calls it, or will."""
        if self.pinned is not None:
            return self.pinned.rpartition(":")[2]
        return sns_name(self.name, fifo=self.fifo, prefix=self._options.prefix)

    @property
    def optional(self) -> bool:
        """Whether what is published here may do without it."""
        return self.mode is not Mode.ALWAYS and self._target is None

    @property
    def wanted(self) -> bool:
        """Whether SNS has to be asked about it now and then."""
        return self.mode is Mode.AUTO or self._target is not None or self.ingest is not None

    # -- publishing

    @property
    def face(self) -> TopicFace | None:
        """See `TopicFaces.face`."""
        if self.mode is Mode.NEVER:
            return None
        if self.mode is Mode.AUTO and not self._tried and self._topics.unavailable:
            # Publishers need not wait for each topic to learn the same.
            self._tried = True
            self.check_at = self._node.clock.monotonic() + self._node.limits.topic_retry_seconds
        if self._face is None and (self.mode is Mode.ALWAYS or not self._tried):
            # Until SNS has been asked, somebody may be listening.
            self._face = TopicFace(self, always=self.mode is Mode.ALWAYS)
            self.open_soon()
        return self._face

    @property
    def target(self) -> TopicFace:
        """The same for what goes there in any case."""
        if self._target is None:
            self._target = TopicFace(self, always=True)
            self.open_soon()
        return self._target

    def send(
        self, face: TopicFace, unit: UnitOfWork, index: int, message: Message, deadline: float
    ) -> None:
        if self.opening:
            unit.remaining += 1
            self._waiting.append((face, unit, index, message, deadline))
        elif self.arn is not None:
            if face.always or not face.deleted:
                self.publisher.send(unit, index, message, deadline)
        elif face.always:
            reason = self.error or TopicDoesNotExist(f"topic {self.sns_name!r} is gone")
            unit.failures[index] = reason
            self.open_soon()

    def vanish(self) -> None:
        """SNS says that the topic does not exist."""
        self.arn = None
        self.publisher.size_max = SIZE_DEFAULT
        self._listened_to(False)
        self.check_at = 0.0

    def leave(self) -> bool:
        """The topic is no more; False while something is still under way for it."""
        if self.opening or self.ingest is not None or self.publisher.busy:
            return False
        if self._face is not None:
            self._face.deleted = True
            self._face = None
        return True

    # -- finding

    def open_soon(self) -> None:
        """Find the topic, or make it, unless that was tried a moment ago."""
        now = self._node.clock.monotonic()
        if self.opening or self.arn is not None or (self._tried and now < self.check_at):
            return
        self._opening = self._node.loop.create_future()
        self._node.tasks.spawn(self._open(self._opening))

    async def opened(self) -> None:
        """Return once it is known whether the topic is there and wanted."""
        if self._opening is not None:
            await asyncio.shield(self._opening)

    @property
    def opening(self) -> bool:
        return self._opening is not None

    async def _open(self, done: asyncio.Future[None]) -> None:
        try:
            await self.check()
        finally:
            self._opening = None
            done.set_result(None)
            self._topics.changed()
            waiting, self._waiting = self._waiting, []
            for face, unit, index, message, deadline in waiting:
                try:
                    self.send(face, unit, index, message, deadline)
                except Exception as error:  # noqa: BLE001 - reported; the others are sent
                    unit.failures[index] = StoreUnavailable("the broker made a mistake")
                    self._node.report(f"a publish to {self.sns_name} failed", error)
                self._node.part_done(unit)

    async def check_unless_opening(self) -> None:
        if not self._tried:
            # Who publishes meanwhile has to wait for the answer, whoever asked first.
            self.open_soon()
        if self.opening:
            return
        try:
            await self.check()
        except Exception as error:  # noqa: BLE001 - one topic must not end the looking after all
            self._node.report(f"topic {self.sns_name} was not checked", error)

    async def check(self) -> None:
        """Ask SNS whether the topic is there and who listens to it."""
        limits = self._node.limits
        pause = limits.topic_retry_seconds
        try:
            if self.arn is None:
                self.arn = await self._found()
                await self._read_size(self.arn)
            await self._look_at_subscriptions(self.arn)
        except MessagingError as error:
            self._failed(error)
            if isinstance(error, TopicDoesNotExist):
                pause = self._options.topic_check_seconds
        else:
            self._topics.works()
            self.error = None
            pause = self._options.topic_check_seconds * (0.5 + self._topics.random() / 2)
        finally:
            self._tried = True
            self.check_at = self._node.clock.monotonic() + pause

    def _failed(self, error: MessagingError) -> None:
        if isinstance(error, TopicDoesNotExist):
            self.arn = None
        if not (self._heard and isinstance(error, StoreUnavailable)):
            self._listened_to(False)
        self._topics.fails(self.sns_name, error)
        self.error = error

    async def _found(self) -> str:
        """The ARN. Raises `TopicDoesNotExist` where there is none and none may be made."""
        control, name = self._topics.control, self.sns_name
        if self.pinned is not None and self.pinned.startswith("arn:"):
            return self.pinned
        if self.pinned is None and self._options.create:
            attributes = {"FifoTopic": "true"} if self.fifo else {}
            plain = self._options.prefix + self.name.name
            encoded = name != plain or self.name.namespace != DEFAULT_NAMESPACE
            tags = tags_of_original(self.name) if encoded else {}
            made = await control.create(name, attributes, tags)
            if made is not None:
                return made
        found = await self._topics.find(name)
        if found is None:
            raise TopicDoesNotExist(
                f"topic {self.name.name!r} does not exist in SNS as {name!r}, and"
                f" {'it is pinned' if self.pinned else 'backend.create is never'}"
            )
        return found

    async def _read_size(self, arn: str) -> None:
        size = (await self._topics.control.attributes(arn)).get("MaximumMessageSize", "")
        if size.isdecimal():
            self.publisher.size_max = int(size)

    async def _look_at_subscriptions(self, arn: str) -> None:
        if self.ingest is None and self.mode is not Mode.AUTO:
            return
        own_queue = self._topics.ingest_queue_name(self)
        outside = False
        own: str | None = None
        async for each in self._topics.control.subscriptions(arn):
            if each.endpoint.rpartition(":")[2] == own_queue:
                own = each.arn
            elif each.confirmed:
                outside = True
            if outside and (own is not None or self.ingest is None):
                break
        self._listened_to(outside)
        if self.ingest is not None and not await self.ingest.keep(arn, own):
            self.ingest = None

    def _listened_to(self, outside: bool) -> None:
        """Somebody outside listens, or nobody does."""
        if self.mode is not Mode.AUTO:
            return
        self._heard = outside
        if outside and self._face is None:
            self._face = TopicFace(self, always=False)
            self._topics.changed()
        elif not outside and self._face is not None:
            self._face.deleted = True
            self._face = None
            # Whoever asked before has not been told yet that there is nothing.
            self._tried = True
            self._topics.changed()


class AwsTopics:
    """See `bridge.messaging.faces.TopicFaces`."""

    def __init__(
        self,
        node: Node,
        options: AwsOptions,
        directory: Directory,
        *,
        random: Random,
        node_id: Callable[[], str],
    ) -> None:
        self.node_id = node_id
        self.options = options
        self.control = SnsControl(node)
        self.random = random
        self.directory = directory
        self.changed: Callable[[], None] = lambda: None
        self._node = node
        self._topics: dict[TopicName, AwsTopic] = {}
        self._uses: TopicUses | None = None
        self._applied: object = None
        """The version of the uses that was looked at last."""
        self._leaving = False
        """Whether topics that are no more still have something to end."""
        self._incoming: Incoming | None = None
        self._closed = False
        self._failing: set[type[MessagingError]] = set()

    @property
    def topics(self) -> list[AwsTopic]:
        """Those that SNS has been asked about."""
        return list(self._topics.values())

    def ingest_queue_name(self, topic: AwsTopic) -> str:
        """What SQS calls the queue for what comes in from a topic."""
        return self.directory.sqs_name_of(ingest_queue(topic.name), fifo=topic.fifo)

    async def close(self) -> None:
        """Take nothing more in; what was taken in is settled, or given back after a while."""
        self._closed = True
        ingests = [each.ingest for each in self._topics.values() if each.ingest is not None]
        await asyncio.gather(*[each.close() for each in ingests])

    async def find(self, name: str) -> str | None:
        """The ARN of a topic in this account; None where there is none."""
        accounts = [parse_queue_url(each.url).account for each in self.directory.all()]
        if not accounts or accounts[0] is None:
            return await self.control.find(name)
        arn = topic_arn(self._node.sns.region, accounts[0], name)
        try:
            await self.control.attributes(arn)
        except TopicDoesNotExist:
            return None
        return arn

    def fails(self, name: str, error: MessagingError) -> None:
        """Say so, once: the same of every topic again and again tells nobody anything."""
        if type(error) not in self._failing:
            self._failing.add(type(error))
            _log.warning("topic %s cannot be used in SNS: %s", name, error)

    @property
    def unavailable(self) -> bool:
        """Whether SNS did not answer when it was asked last."""
        return StoreUnavailable in self._failing

    def works(self) -> None:
        if self._failing - {TopicDoesNotExist}:
            self._failing.clear()
            _log.warning("topics can be used in SNS again")

    # -- TopicFaces

    def face(
        self, topic: TopicName, *, fifo: bool = False, always: bool = False
    ) -> TopicFace | None:
        known = self._topic(topic, fifo=fifo)
        return known.target if always else known.face

    async def ready(self, topic: TopicName) -> TopicFace:
        known = self._topic(topic, fifo=False)
        await known.opened()
        face = known.face
        if face is None:
            face = TopicFace(known, always=False)
            face.deleted = True
        return face

    def follow(self, uses: TopicUses, changed: Callable[[], None], incoming: Incoming) -> None:
        self._uses = uses
        self.changed = changed
        self._incoming = incoming
        self._node.tasks.spawn(self._keep())

    # -- what is used, and what it needs

    def _topic(self, name: TopicName, *, fifo: bool) -> AwsTopic:
        known = self._topics.get(name)
        if known is None:
            known = self._topics[name] = AwsTopic(self._node, self, name, fifo=fifo)
        return known

    async def _keep(self) -> None:
        limits = self._node.limits
        self._find_ingest_queues()
        pauses = chain([0.0], repeat(limits.topics_look_seconds))
        await self._node.repeat(
            "topics in SNS were not looked after", lambda: next(pauses), self._look
        )

    async def _look(self) -> None:
        """Follow what is used here, and ask SNS again about what it was asked about."""
        if self._closed:
            return
        assert self._uses is not None, "follow gave it"
        if (version := self._uses.version) != self._applied:
            self._apply(self._uses)
            self._leaving = True
            self._applied = version
        if self._leaving:
            self._forget(self._uses)
        now = self._node.clock.monotonic()
        due = [each for each in self._topics.values() if each.wanted and each.check_at <= now]
        for start in range(0, len(due), CHECKED_AT_ONCE_MAX):
            async with asyncio.TaskGroup() as group:
                for topic in due[start : start + CHECKED_AT_ONCE_MAX]:
                    group.create_task(topic.check_unless_opening())

    def _find_ingest_queues(self) -> None:
        """Go on with what a former process took in; what nobody wants any more ends in a while."""
        for queue in self.directory.all():
            name = topic_of_ingest_queue(queue.name)
            if name is not None:
                topic = self._topic(name, fifo=queue.fifo)
                topic.ingest = self._ingest(topic)
                topic.ingest.unwanted()

    def _apply(self, uses: TopicUses) -> None:
        """Take in what comes from the topics that are used here, and from no others."""
        wanted: set[TopicName] = set()
        for use in uses:
            mode = self.options.ingest_of(use.name)
            if mode is Mode.ALWAYS or (mode is Mode.AUTO and use.subscribed):
                wanted.add(use.name)
                topic = self._topic(use.name, fifo=use.fifo)
                if topic.ingest is None:
                    topic.ingest = self._ingest(topic)
                    topic.check_at = 0.0
                topic.ingest.wanted()
        for topic in self._topics.values():
            if topic.ingest is not None and topic.name not in wanted:
                topic.ingest.unwanted()

    def _forget(self, uses: TopicUses) -> None:
        """Let go of topics that are no more: clients may make one after the other."""
        gone = [each for each in self._topics.values() if each.name not in uses]
        for topic in gone:
            if topic.leave():
                del self._topics[topic.name]
        self._leaving = any(each.name in self._topics for each in gone)

    def _ingest(self, topic: AwsTopic) -> Ingest:
        assert self._incoming is not None, "follow gave it"
        return Ingest(self._node, self, topic, self._incoming)
