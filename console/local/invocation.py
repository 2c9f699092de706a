"""What goes into the function and what goes to the on-failure destination, as AWS writes it.

Sources, AWS Lambda Developer Guide: "Using AWS Lambda with Amazon DynamoDB" (the example event),
"Retain discarded records for a DynamoDB event source in Lambda" (the invocation record).
"""

import base64
import json
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from console.local.batches import (
    Batch,
    Discard,
    Failed,
    Outcome,
    Record,
    TriggerSettings,
    read_response,
)

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """The part of Lambda's context object that a function of ours may use."""

    function_name: str
    aws_request_id: str
    invoked_function_arn: str
    deadline: float
    """When the function's time is up, seconds since the epoch."""
    clock: Clock

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the timeout; 0 after it."""
        return max(0, int((self.deadline - self.clock()) * 1000))


Function: TypeAlias = Callable[[dict[str, Any], LambdaContext], object]


def read_record(record: Mapping[str, Any], arn: str, partition_key: str) -> Record:
    """A record as boto3 returned it, turned into what Lambda sends.

    partition_key: name of the table's HASH key. The region is that of the stream's ARN: one
    emulator always writes us-east-1. Times are floored to the second, as DynamoDB's are.
    """
    change = record["dynamodb"]
    at = change["ApproximateCreationDateTime"].timestamp()
    keys = _read_keys(change)
    event: dict[str, Any] = {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": arn.split(":")[3] or record.get("awsRegion", ""),
        "dynamodb": {
            "ApproximateCreationDateTime": math.floor(at),
            "Keys": keys,
            **{
                image: _read_item(change[image])
                for image in ("NewImage", "OldImage")
                if change.get(image)
            },
            "SequenceNumber": change["SequenceNumber"],
            "SizeBytes": change.get("SizeBytes", 0),
            "StreamViewType": change["StreamViewType"],
        },
        "eventSourceARN": arn,
    }
    if identity := record.get("userIdentity"):
        # boto3 names these fields as the API does; Lambda events write them with a small letter.
        event["userIdentity"] = {
            "type": identity.get("Type"),
            "principalId": identity.get("PrincipalId"),
        }
    return Record(
        sequence=change["SequenceNumber"],
        at=at,
        partition=_write_json(keys.get(partition_key, keys)),
        text=_write_json(event),
    )


def _read_keys(change: Mapping[str, Any]) -> dict[str, Any]:
    """The item's key, with the values that an image has for it.

    They are the same by definition, except in moto, which encodes binaries of `Keys` twice.
    """
    image = change.get("NewImage") or change.get("OldImage") or {}
    return _read_item({name: image.get(name, value) for name, value in change["Keys"].items()})


def _read_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read_value(value) for name, value in item.items()}


def _read_value(value: Mapping[str, Any]) -> dict[str, Any]:
    """A typed value with its binaries as base64 text; every other type is JSON already."""
    if not value:
        # DynamoDB Local 3.3.1 writes an empty map so in stream records; GetItem shows {"M": {}}.
        return {"M": {}}
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {"B": _encode(content)}
        case "BS":
            return {"BS": [_encode(member) for member in content]}
        case "L":
            return {"L": [_read_value(member) for member in content]}
        case "M":
            return {"M": _read_item(content)}
        case _:
            return {kind: content}


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _write_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def invoke(
    function: Function, batch: Batch, settings: TriggerSettings, arn: str, clock: Clock
) -> tuple[Batch, Outcome]:
    """Give `batch` to the function once: the batch with this invocation noted, and its outcome.

    The function gets a parsed copy of its own. An exception, an answer that is no JSON and an
    answer after the timeout are failures of the whole batch, as they are in Lambda. (Lambda stops
    a function at its timeout. We can only wait for it.)
    """
    request_id = str(uuid.uuid4())
    context = LambdaContext(
        function_name=settings.function_name,
        aws_request_id=request_id,
        invoked_function_arn=name_function(arn, settings.function_name),
        deadline=clock() + settings.timeout_s,
        clock=clock,
    )
    batch = batch.with_invocation(request_id)
    try:
        response = json.loads(json.dumps(function(json.loads(batch.event), context)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the function is not our code
        return batch, Failed(f"{type(error).__name__}: {error}")
    if context.get_remaining_time_in_millis() <= 0:
        return batch, Failed(f"Task timed out after {settings.timeout_s:.2f} seconds")
    return batch, read_response(batch, response, settings)


def name_function(stream_arn: str, function_name: str) -> str:
    """The ARN the function would have beside that stream."""
    _, partition, _, region, account, *_ = stream_arn.split(":")
    return f"arn:{partition}:lambda:{region}:{account}:function:{function_name}"


def write_invocation_record(
    discard: Discard, *, shard_id: str, arn: str, settings: TriggerSettings, now: float
) -> dict[str, Any]:
    """The invocation record of a discarded batch, as an S3 destination gets it.

    `payload` is the event of the discarded records as JSON *text*. Records given up before their
    first invocation have no `responseContext`; it has no `functionError` where the function
    answered in order and reported failures.
    """
    batch = discard.batch
    first, last = batch.records[0], batch.records[-1]
    record: dict[str, Any] = {
        "requestContext": {
            "requestId": batch.request_id or str(uuid.uuid4()),
            "functionArn": name_function(arn, settings.function_name),
            "condition": discard.condition,
            "approximateInvokeCount": batch.invocations,
        }
    }
    if batch.invocations:
        record["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if isinstance(batch.failure, Failed) and batch.failure.raised:
            record["responseContext"]["functionError"] = "Unhandled"
    return record | {
        "version": "1.0",
        "timestamp": _write_time(now, "milliseconds"),
        "DDBStreamBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": first.sequence,
            "endSequenceNumber": last.sequence,
            "approximateArrivalOfFirstRecord": _write_time(first.at, "seconds"),
            "approximateArrivalOfLastRecord": _write_time(last.at, "seconds"),
            "batchSize": len(batch.records),
            "streamArn": arn,
        },
        "payload": batch.event,
    }


def _write_time(seconds: float, precision: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision)[:-6] + "Z"
