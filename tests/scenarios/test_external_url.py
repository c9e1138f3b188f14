"""`aws_api.external_url`: what the API says of itself where clients come through something else."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.aws_clients import REGION, client, query
from tests.support.ports import free_port
from tests.support.program import running
from tests.support.sns_signatures import check_signature

ACCOUNT = "000000000000"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted = json.loads(body)  # type: ignore[attr-defined]  # for the test
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def test_queue_urls_and_links_lead_to_where_clients_come_in(tmp_path: Path) -> None:
    port = free_port()
    # Another name than the one that is called, and good for being called.
    outside = f"http://localhost:{port}"
    options = (f"--set=listeners.aws.port={port}", f"--set=aws_api.external_url={outside}/")
    with running(*options, directory=tmp_path) as program:
        called = f"http://127.0.0.1:{program.port('aws')}"
        answer = query(called, headers={"Host": "broker"}, Action="CreateQueue", QueueName="q")
        url = answer.find("CreateQueueResult/QueueUrl") or ""
        assert url == f"{outside}/{ACCOUNT}/q"
        sqs, sns = client(called, "sqs"), client(called, "sns")
        assert sqs.list_queues()["QueueUrls"] == [url]
        topic = sns.create_topic(Name="t")["TopicArn"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        sns.publish(TopicArn=topic, Message="hello")
        received = client(outside, "sqs").receive_message(QueueUrl=url, WaitTimeSeconds=20)
        envelope = json.loads(received["Messages"][0]["Body"])
        assert envelope["UnsubscribeURL"].startswith(f"{outside}/?Action=Unsubscribe&")
        assert envelope["SigningCertURL"].startswith(f"{outside}/SimpleNotificationService-")
        check_signature(envelope)


def test_confirmations_ask_to_come_in_there(tmp_path: Path) -> None:
    with running("--set=aws_api.external_url=https://sns.example", directory=tmp_path) as program:
        sns = client(f"http://127.0.0.1:{program.port('aws')}", "sns")
        topic = sns.create_topic(Name="t")["TopicArn"]
        with HTTPServer(("127.0.0.1", 0), _Handler) as endpoint:
            asked = threading.Thread(target=endpoint.handle_request)
            asked.start()
            url = f"http://127.0.0.1:{endpoint.server_port}/"
            sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=url)
            asked.join()
            envelope = endpoint.posted  # type: ignore[attr-defined]  # as above
    link = f"https://sns.example/?Action=ConfirmSubscription&TopicArn={topic}&Token="
    assert envelope["SubscribeURL"].startswith(link)
    assert envelope["SigningCertURL"].startswith("https://sns.example/SimpleNotification")


@pytest.mark.parametrize(("host", "port"), [("broker", ""), ("broker:8080", ":8080")])
def test_without_it_the_host_that_was_called_counts(tmp_path: Path, host: str, port: str) -> None:
    with running(directory=tmp_path) as program:
        called = f"http://127.0.0.1:{program.port('aws')}"
        answer = query(called, headers={"Host": host}, Action="CreateQueue", QueueName="q")
    assert answer.find("CreateQueueResult/QueueUrl") == f"http://broker{port}/{ACCOUNT}/q"
