"""The brokers to compare: how each is started on loopback, and which port speaks what.

Peers come from Debian's packages `rabbitmq-server`, `activemq` and `mosquitto`, and from the Python
packages `amqtt` and `moto[server]`; what is not installed is left out. Each runs durable, where it
can, on a directory of its own and is stopped with its helpers.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

from tests.benchmarks.link import PeerFailed
from tests.support.ports import free_port


class Peer(ABC):
    """A server as a child of this process."""

    name = ""
    speaks: tuple[str, ...] = ()
    qos_max = 2
    """The highest quality of service that it grants an MQTT subscriber."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name
        self.ports = {protocol: free_port() for protocol in self.speaks}
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def installed() -> bool:
        return True

    @abstractmethod
    def command(self) -> tuple[list[str], dict[str, str]]:
        """Arguments and environment; called on an empty directory."""

    def clean_up(self) -> None:  # noqa: B027 - most leave nothing
        """End what the server leaves running besides its own process group."""

    def start(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        arguments, environment = self.command()
        with (self.directory / "output.log").open("wb") as log:
            self._process = subprocess.Popen(
                arguments,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        deadline = time.monotonic() + 300
        for port in self.ports.values():
            while not _answers(port):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise PeerFailed(f"it did not start: {self._last_words()}")
                time.sleep(0.1)

    def _last_words(self) -> str:
        lines = (self.directory / "output.log").read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self.clean_up()

    def cpu_seconds(self) -> float:
        """Of the whole tree, user and system."""
        ticks = 0
        for process in self._tree():
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """Resident memory of the whole tree."""
        pages = 0
        for process in self._tree():
            try:
                pages += int((process / "statm").read_text().split()[1])
            except OSError:
                continue
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _tree(self) -> list[Path]:
        assert self._process is not None
        session = self._process.pid
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(process.name)) == session:
                    found.append(process)
            except OSError:
                continue
        return found


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Landbridge(Peer):
    """This product on its defaults, with synced commits."""

    name = "landbridge"
    speaks = ("amqp", "mqtt", "sqs", "stomp")

    def command(self) -> tuple[list[str], dict[str, str]]:
        listeners = "".join(
            f"  {'aws' if name == 'sqs' else name}: {{port: {port}}}\n"
            for name, port in self.ports.items()
        )
        configuration = self.directory / "landbridge.yaml"
        configuration.write_text(
            f"backend: {{path: {self.directory}/data}}\nlisteners:\n{listeners}"
        )
        program = Path(sys.executable).with_name("landbridge")
        return [str(program), "serve", "-c", str(configuration)], {}


class LandbridgeOnAws(Landbridge):
    """A node of this product on an endpoint for all services."""

    def __init__(self, directory: Path, name: str, url: str) -> None:
        self.name = name
        super().__init__(directory)
        self._url = url

    def command(self) -> tuple[list[str], dict[str, str]]:
        arguments, _ = super().command()
        configuration = self.directory / "landbridge.yaml"
        listeners = configuration.read_text().partition("\n")[2]
        configuration.write_text(
            f"backend: {{kind: aws, region: us-east-1, endpoint_url: '{self._url}',"
            f" path: {self.directory}/data}}\n{listeners}"
        )
        return arguments, {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}


class RabbitMQ(Peer):
    """Debian's rabbitmq-server with its STOMP and MQTT plugins."""

    name = "rabbitmq"
    speaks = ("amqp", "mqtt", "stomp")
    qos_max = 1

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._mapper_port = free_port()

    @staticmethod
    def installed() -> bool:
        return Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists()

    def command(self) -> tuple[list[str], dict[str, str]]:
        (self.directory / "plugins").write_text("[rabbitmq_mqtt,rabbitmq_stomp].\n")
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.ports['amqp']}\n"
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.ports['mqtt']}\n"
            f"stomp.listeners.tcp.1 = 127.0.0.1:{self.ports['stomp']}\n"
            "log.file.level = warning\n"
        )
        home = str(self.directory)
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"], {
            "HOME": home,
            "RABBITMQ_NODENAME": f"bench{self._mapper_port}@localhost",
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def clean_up(self) -> None:
        # Erlang's port mapper leaves the session of its starter; it is told by the port we chose.
        wanted = f"ERL_EPMD_PORT={self._mapper_port}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name = (process / "comm").read_text().strip()
                environment = (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if name == "epmd" and wanted in environment:
                os.kill(int(process.name), signal.SIGTERM)


class Mosquitto(Peer):
    """Debian's mosquitto with persistence, which never syncs; any number of messages in flight."""

    name = "mosquitto"
    speaks = ("mqtt",)

    @staticmethod
    def installed() -> bool:
        return shutil.which("mosquitto") is not None

    def command(self) -> tuple[list[str], dict[str, str]]:
        path = self.directory / "mosquitto.conf"
        path.write_text(
            f"listener {self.ports['mqtt']} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.directory}/\nuser root\nlog_type error\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
        )
        return ["mosquitto", "-c", str(path)], {}


class Amqtt(Peer):
    """amqtt's broker, which keeps everything in memory."""

    name = "amqtt"
    speaks = ("mqtt",)

    @staticmethod
    def installed() -> bool:
        return Path(sys.executable).with_name("amqtt").exists()

    def command(self) -> tuple[list[str], dict[str, str]]:
        configuration = self.directory / "amqtt.yaml"
        configuration.write_text(
            f"listeners:\n  default: {{type: tcp, bind: '127.0.0.1:{self.ports['mqtt']}'}}\n"
        )
        return [str(Path(sys.executable).with_name("amqtt")), "-c", str(configuration)], {}


class ActiveMQ(Peer):
    """Debian's activemq with KahaDB, which syncs."""

    name = "activemq"
    speaks = ("stomp",)

    @staticmethod
    def installed() -> bool:
        return Path("/usr/share/activemq/bin/activemq.jar").exists()

    def command(self) -> tuple[list[str], dict[str, str]]:
        folder = self.directory / "conf"
        folder.mkdir()
        (self.directory / "lib").mkdir()
        (folder / "log4j.properties").write_text(
            "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.SimpleLayout\n"
        )
        spring = "http://www.springframework.org/schema/beans"
        core = "http://activemq.apache.org/schema/core"
        (folder / "activemq.xml").write_text(
            f'<beans xmlns="{spring}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
            f' xsi:schemaLocation="{spring} {spring}/spring-beans-2.0.xsd {core}'
            f' {core}/activemq-core.xsd"><broker xmlns="{core}" useJmx="false"'
            f' brokerName="localhost" dataDirectory="{self.directory}/data"><persistenceAdapter>'
            f'<kahaDB directory="{self.directory}/data/kahadb"/></persistenceAdapter>'
            '<transportConnectors><transportConnector name="stomp"'
            f' uri="stomp+nio://127.0.0.1:{self.ports["stomp"]}"/></transportConnectors>'
            "</broker></beans>"
        )
        home = "/usr/share/activemq"
        return [
            "java",
            "-Xms512M",
            "-Xmx512M",
            f"-Dactivemq.home={home}",
            f"-Dactivemq.base={self.directory}",
            f"-Dactivemq.conf={folder}",
            f"-Dactivemq.data={self.directory}/data",
            f"-Dactivemq.classpath={folder}:{home}/lib:",
            "-jar",
            f"{home}/bin/activemq.jar",
            "start",
            f"xbean:file:{folder}/activemq.xml",
        ], {}


class Moto(Peer):
    """moto's server, which keeps everything in memory."""

    name = "moto"
    speaks = ("sqs",)

    @staticmethod
    def installed() -> bool:
        return Path(sys.executable).with_name("moto_server").exists()

    def command(self) -> tuple[list[str], dict[str, str]]:
        program = Path(sys.executable).with_name("moto_server")
        return [str(program), "-H", "127.0.0.1", "-p", str(self.ports["sqs"])], {}


PEERS: dict[str, type[Peer]] = {
    each.name: each for each in (Landbridge, Mosquitto, RabbitMQ, ActiveMQ, Amqtt, Moto)
}
