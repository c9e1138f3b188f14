"""The SQS and SNS HTTP API, on the ports: what boto3 and every other SDK talk to."""

from __future__ import annotations

from bridge.api.api import AwsApi
from bridge.api.options import ApiOptions
from bridge.api.ports import ApiPorts

__all__ = ["ApiOptions", "ApiPorts", "AwsApi"]
