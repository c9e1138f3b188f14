"""`simulate: aws` as users have it: told at the start, and met by a program that retries."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import boto3
from botocore.config import Config

from tests.support.program import run_landbridge, running

MESSAGES = 200


def test_a_program_that_retries_gets_everything_through(tmp_path: Path) -> None:
    options = ["--set=aws_api.simulate=aws", "--set=aws_api.simulation={seed: 3, slow_rate: 0}"]
    with running(*options, directory=tmp_path) as program:
        assert any("like AWS at its worst, seed 3" in line for line in program.text)
        sqs = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{program.port('aws')}",
            region_name="eu-west-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret-key",
            config=Config(retries={"max_attempts": 10, "mode": "standard"}),
        )
        url = sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
        left = [str(number) for number in range(MESSAGES)]
        sent = set(left)
        got: list[str] = []
        while left or set(got) < sent:
            # Within the queue's first second, any call may not find it.
            with suppress(sqs.exceptions.QueueDoesNotExist):
                if left:
                    entries = [{"Id": each, "MessageBody": each} for each in left[:10]]
                    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
                    stored = {each["Id"] for each in answer.get("Successful", [])}
                    left = [each for each in left if each not in stored]
                    continue
                answer = sqs.receive_message(
                    QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1
                )
                for each in answer.get("Messages", []):
                    got.append(each["Body"])
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        assert set(got) == sent


def test_numbers_without_the_mode_are_a_mistake(tmp_path: Path) -> None:
    ended = run_landbridge("check", "--set=aws_api.simulation.seed=3", directory=tmp_path)
    assert ended.returncode != 0
    assert "simulation: means nothing without simulate: aws" in ended.stderr + ended.stdout
