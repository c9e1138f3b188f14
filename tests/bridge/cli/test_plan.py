"""`landbridge plan`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.program import run_landbridge

AWS = ("--set=backend.kind=aws", "--set=backend.region=eu-west-1", "--set=backend.prefix=lb-")


def test_the_plan_names_queues_and_ends_with_a_policy(tmp_path: Path) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        "queues: [{name: jobs, visibility_timeout_seconds: 90}]\n"
        "routes: [{from: 'stomp:/queue/a', to: sqs:target}]\n"
    )
    result = run_landbridge("plan", *AWS, directory=tmp_path)
    assert result.returncode == 0
    text, _, policy = result.stdout.partition("IAM policy:\n")
    assert "queue  jobs as lb-jobs: made if it is absent" in text
    assert "VisibilityTimeout=90" in text
    assert "queue  target as lb-target" in text
    assert json.loads(policy)["Version"] == "2012-10-17"


def test_the_policy_alone_is_json(tmp_path: Path) -> None:
    result = run_landbridge("plan", "--policy", *AWS, directory=tmp_path)
    assert "eu-west-1" in json.loads(result.stdout)["Statement"][0]["Resource"][0]


def test_another_backend_has_no_plan(tmp_path: Path) -> None:
    result = run_landbridge("plan", directory=tmp_path)
    assert result.returncode == 1
    assert "backend.kind: is not aws" in result.stderr
