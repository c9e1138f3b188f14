"""The SQS and SNS HTTP API: from a request to an action, and from its outcome to a response.

JSON 1.0 names its action in `X-Amz-Target`; everything else is the Query protocol, whose service
follows from the version, the credential scope, the host or the action. Whatever goes wrong is
answered in the request's own protocol: errors of the table as they are, everything else logged and
answered as InternalFailure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from inspect import iscoroutine
from typing import Any, TypeAlias

from bridge.api import errors, sts
from bridge.api.auth import Authenticator, claimed_key
from bridge.api.call import PROTOCOL, Call, Wire
from bridge.api.committing import CommittedResponse, Committing
from bridge.api.errors import ApiError, ReplyLost, api_error_from
from bridge.api.operation import JSON_TYPE, XML_TYPE, Operation, success_body
from bridge.api.options import ApiOptions
from bridge.api.ports import ApiPorts
from bridge.api.simulation import Faults, Simulation
from bridge.api.sns.notifications import Notifications
from bridge.api.sns.operations import OPERATIONS as SNS_OPERATIONS
from bridge.api.sns.operations import RENDERING as SNS_RENDERING
from bridge.api.sns.outbound import Outbound
from bridge.api.sns.pending import PendingSubscriptions
from bridge.api.sns.service import SnsService
from bridge.api.sns.signing import Signer
from bridge.api.sqs.directory import QueueDirectory
from bridge.api.sqs.move_tasks import MoveTasks
from bridge.api.sqs.operations import OPERATIONS as SQS_OPERATIONS
from bridge.api.sqs.operations import WITHOUT_QUEUE_URL
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import rendering_of
from bridge.api.wire import json, query, xml
from bridge.messaging.errors import MessagingError
from bridge.messaging.ports import Store
from bridge.net.http_messages import NO_ANSWER, HttpRequest, HttpResponse
from bridge.net.steps import Pending, Steps
from bridge.routing.topology import Topology

PEM_TYPE = "application/x-pem-file"
FORM_TYPE = "application/x-www-form-urlencoded"
UNSIGNED = frozenset({"ConfirmSubscription", "Unsubscribe"})
"""SNS's actions that the links in its messages lead to; what they need to know is in the link."""
_SQS_RENDERING = rendering_of("")

Answer: TypeAlias = HttpResponse | Coroutine[Any, Any, HttpResponse] | Pending


class AwsApi:
    """Answers the requests of one endpoint; `start` once its store is open."""

    def __init__(self, ports: ApiPorts, options: ApiOptions | None = None) -> None:
        options = options or ApiOptions()
        self._external_url = options.external_url
        self._as_tasks = options.requests_as_tasks
        self._message_ids = ports.message_ids
        self._log = ports.log
        self._counters = ports.counters
        self._authenticator = Authenticator(options.access_keys, ports.clock)
        self.simulation = simulation = Simulation(
            options.faults or Faults(),
            ports.store,
            ports.state,
            ports.topology,
            ports.clock,
            ports.spawn,
        )
        shown_store, shown_topology = ports.store, ports.topology
        self._sqs_operations, self._sns_operations = SQS_OPERATIONS, SNS_OPERATIONS
        if options.faults is not None:
            options = replace(options, in_flight_max=options.faults.in_flight_max)
            shown_store, shown_topology = simulation.store, simulation.topology
            self._sqs_operations = simulation.around(SQS_OPERATIONS, sns=False)
            self._sns_operations = simulation.around(SNS_OPERATIONS, sns=True)
        self._json_targets = {
            f"AmazonSQS.{name}": operation for name, operation in self._sqs_operations.items()
        }
        directory = QueueDirectory(ports.store)
        self._compose_sqs(replace(ports, store=shown_store), ports.store, directory, options)
        self._compose_sns(replace(ports, topology=shown_topology), ports.topology, directory)

    def _compose_sqs(
        self, ports: ApiPorts, store: Store, directory: QueueDirectory, options: ApiOptions
    ) -> None:
        """`store` is the one behind what `ports` show."""
        self._move_tasks = MoveTasks(
            store,
            ports.state,
            ports.clock,
            ports.message_ids,
            directory,
            ports.leases,
            ports.spawn,
        )
        self._sqs = SqsService(
            store=ports.store,
            state=ports.state,
            router=ports.router,
            clock=ports.clock,
            message_ids=ports.message_ids,
            options=options,
            directory=directory,
            move_tasks=self._move_tasks,
            counters=ports.counters,
        )

    def _compose_sns(self, ports: ApiPorts, topology: Topology, directory: QueueDirectory) -> None:
        """`topology` is the one behind what `ports` show."""
        self._signer = Signer(ports.store, ports.state, ports.clock)
        self._notifications = Notifications(
            topology, self._signer, ports.message_ids, self._external_url
        )
        self._outbound = Outbound(
            ports.store,
            topology,
            ports.clock,
            ports.message_ids,
            self._notifications,
            directory,
            ports.log,
            ports.spawn,
        )
        self._pending = PendingSubscriptions(
            ports.store,
            ports.state,
            ports.clock,
            ports.message_ids,
            self._notifications,
            self._outbound,
        )
        self._sns = SnsService(
            store=ports.store,
            state=ports.state,
            topology=ports.topology,
            router=ports.router,
            clock=ports.clock,
            message_ids=ports.message_ids,
            directory=directory,
            notifications=self._notifications,
            pending=self._pending,
            log=ports.log,
            counters=ports.counters,
        )
        ports.router.use_wrap(self._notifications.wrap)
        ports.router.use_deliver_elsewhere(self._outbound.deliver)

    def start(self) -> None:
        """Go on with what was under way when the process stopped."""
        self._sqs.deleted.load()
        self._sqs.purged.load()
        self._move_tasks.resume()
        self._pending.load()
        self._outbound.start()
        # Also where it has been turned off since.
        self.simulation.resume()

    def handle(self, request: HttpRequest) -> Answer:
        """Answer a request, at once or by a coroutine. Never raises."""
        target = request.header("x-amz-target")
        wire = Wire.QUERY if target is None else Wire.JSON
        call = Call(request, self._message_ids.next(), wire, self._external_url)
        try:
            if target is None:
                return self._handle_query(call)
            if self._authenticator.required:
                self._verify(request)
                # Of a header that came under several spellings, the one that was signed.
                target = request.headers["x-amz-target"]
            operation = self._json_targets.get(target)
            if operation is None:
                if FORM_TYPE in request.headers.get("content-type", ""):
                    # Old Query clients name the API's version there, and AWS goes by the form.
                    call.wire = Wire.QUERY
                    return self._handle_query(call)
                raise _invalid_action(target)
            return self._answer(call, operation, operation.run_json(self._sqs, call))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return self._refuse(call, error)

    # -- Query

    def _handle_query(self, call: Call) -> Answer:
        request = call.request
        path, _, query_string = request.target.partition("?")
        form = request.body if request.method == "POST" else b""
        parameters = query.parameters_from(query_string, form)
        if _asks_for_json(request, parameters):
            call.wire = Wire.QUERY_AS_JSON
        action = parameters.get("Action")
        if action is None and path.endswith(".pem") and path[1:] == self._signer.certificate_name:
            return _response(call, 200, PEM_TYPE, self._signer.certificate)
        if action is None:
            raise errors.UNKNOWN_OPERATION("The request names no action.")
        call.named_region = _region_named_in(parameters)
        call.sns = self._is_sns(call, action, parameters)
        if self._authenticator.required and not (call.sns and action in UNSIGNED):
            self._verify(request)
        if action == sts.ACTION:
            return self._answer(call, sts.OPERATION, sts.OPERATION.run_query(None, call, {}))
        if call.sns:
            operation = self._sns_operations.get(action)
            if operation is None:
                raise _invalid_action(action)
            return self._answer(call, operation, operation.run_query(self._sns, call, parameters))
        if len(path.strip("/").split("/")) >= 2:
            call.queue_path = path
            parameters.setdefault("QueueUrl", path)
        operation = self._sqs_operations.get(action)
        if operation is None or (call.queue_path and action in WITHOUT_QUEUE_URL):
            raise _invalid_action(action)
        return self._answer(call, operation, operation.run_query(self._sqs, call, parameters))

    def _verify(self, request: HttpRequest) -> None:
        try:
            self._authenticator.verify(request)
        except ApiError as error:
            self._counters.login_failed(PROTOCOL)
            self._log.request_refused(
                PROTOCOL,
                request.peer,
                user=claimed_key(request),
                reason=f"{error.kind.code}: {error.message}",
            )
            raise

    def _is_sns(self, call: Call, action: str, parameters: Mapping[str, str]) -> bool:
        match parameters.get("Version"):
            case "2010-03-31":
                return True
            case "2012-11-05":
                return False
            case _:
                pass
        if call.service is not None:
            return call.service == "sns"
        return action not in SQS_OPERATIONS and action in SNS_OPERATIONS

    # -- answers

    def _answer(self, call: Call, operation: Operation[Any], outcome: Any) -> Answer:
        if isinstance(outcome, Committing):
            return CommittedResponse(outcome, partial(self._committed, call, operation))
        if iscoroutine(outcome):
            answering = self._finish(call, operation, outcome)
            return answering if self._as_tasks else Steps(answering)
        return _response(call, 200, *success_body(call, operation, outcome))

    def _committed(
        self, call: Call, operation: Operation[Any], outcome: Committing[Any]
    ) -> HttpResponse:
        unit = outcome.unit
        try:
            if unit.error is not None:
                raise unit.error
            return _response(call, 200, *success_body(call, operation, outcome.result(unit)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return self._refuse(call, error)

    async def _finish(
        self, call: Call, operation: Operation[Any], outcome: Awaitable[Any]
    ) -> HttpResponse:
        try:
            return _response(call, 200, *success_body(call, operation, await outcome))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return self._refuse(call, error)

    def _refuse(self, call: Call, error: Exception) -> HttpResponse:
        if isinstance(error, ReplyLost):
            return NO_ANSWER
        if isinstance(error, MessagingError):
            error = api_error_from(error, sns=call.sns)
        if not isinstance(error, ApiError):
            self._log.failed(PROTOCOL, call.request.peer, error)
            error = errors.INTERNAL_FAILURE(
                "The request processing has failed because of an unknown error."
            )
        if call.wire is Wire.JSON:
            return _json_refusal(call, error)
        return _query_refusal(call, error)


def _response(call: Call, status: int, content_type: str, body: bytes) -> HttpResponse:
    lines = f"Content-Type: {content_type}\r\nx-amzn-RequestId: {call.request_id}\r\n"
    return HttpResponse(status, {}, body, lines.encode())


def _json_refusal(call: Call, error: ApiError) -> HttpResponse:
    kind = error.kind
    response = _response(call, kind.status, JSON_TYPE, json.error_body(error))
    response.headers = {"x-amzn-query-error": f"{kind.code};{kind.fault}"}
    return response


def _query_refusal(call: Call, error: ApiError) -> HttpResponse:
    if error.kind is errors.UNKNOWN_OPERATION:
        return _response(call, 404, XML_TYPE, b"<UnknownOperationException/>\n")
    message = error.message
    if error.kind is errors.QUEUE_DOES_NOT_EXIST:
        message = "The specified queue does not exist for this wsdl version."
    if call.wire is Wire.QUERY_AS_JSON:
        kind = error.kind
        body = json.encode(
            {
                "Error": {"Code": kind.code, "Message": message, "Type": kind.fault},
                "RequestId": call.request_id,
            }
        )
        return _response(call, kind.status, "application/json", body)
    rendering = SNS_RENDERING if call.sns else _SQS_RENDERING
    body = xml.error_body(error, message, call.request_id, rendering)
    return _response(call, error.kind.status, XML_TYPE, body)


def _asks_for_json(request: HttpRequest, parameters: Mapping[str, str]) -> bool:
    """By a header, or as boto 2 does for SNS."""
    return (
        "application/json" in request.headers.get("accept", "")
        or parameters.get("ContentType") == "JSON"
    )


def _region_named_in(parameters: Mapping[str, str]) -> str | None:
    arn = parameters.get("TopicArn") or parameters.get("SubscriptionArn") or ""
    parts = arn.split(":")
    return parts[3] if len(parts) > 3 and parts[3] else None


def _invalid_action(action: str) -> ApiError:
    return errors.INVALID_ACTION(f"The action {action} is not valid for this endpoint.")
