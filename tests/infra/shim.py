"""moto with the gaps filled that keep Terraform from applying the module.

Run as `python -m tests.infra.shim PORT`.

Each gap is a function of GAPS; tests/infra/test_cycle.py shows that moto still has it. A stack that
is applied to this, planned empty and destroyed shows a configuration that is accepted and stable.
It shows nothing of what AWS does with it.
"""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Final

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.awslambda.models import LambdaFunction
from moto.awslambda.responses import LambdaResponse
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.sqs.models import Queue

# Their types do not foresee that somebody replaces a method.
_Queue: Any = Queue
_Scaling: Any = ApplicationAutoScalingResponse
_Function: Any = LambdaFunction
_Lambda: Any = LambdaResponse
_Ecs: Any = EC2ContainerServiceResponse


def keep_redrive_policies() -> None:
    """SQS: RedriveAllowPolicy is dropped, and RedrivePolicy comes back with blanks in its JSON."""
    stock = _Queue.attributes.fget

    def attributes(self: Any) -> dict[str, Any]:
        found: dict[str, Any] = stock(self)
        allowed = getattr(self, "redrive_allow_policy", None)
        if allowed:
            found["RedriveAllowPolicy"] = allowed
        if self.redrive_policy:
            found["RedrivePolicy"] = json.dumps(self.redrive_policy, separators=(",", ":"))
        return found

    _Queue.attributes = property(attributes)


def keep_scaling_tags() -> None:
    """Application Auto Scaling: tags are dropped, and asking for them is answered with 500."""
    tags: dict[str, dict[str, str]] = {}
    stock = _Scaling.register_scalable_target

    def register_scalable_target(self: Any) -> str:
        answer: str = stock(self)
        arn = json.loads(answer)["ScalableTargetARN"]
        tags.setdefault(arn, {}).update(self._get_param("Tags") or {})
        return answer

    def list_tags_for_resource(self: Any) -> str:
        return json.dumps({"Tags": tags.get(self._get_param("ResourceARN"), {})})

    def tag_resource(self: Any) -> str:
        tags.setdefault(self._get_param("ResourceARN"), {}).update(self._get_param("Tags"))
        return "{}"

    def untag_resource(self: Any) -> str:
        for key in self._get_param("TagKeys"):
            tags.get(self._get_param("ResourceARN"), {}).pop(key, None)
        return "{}"

    added = (register_scalable_target, list_tags_for_resource, tag_resource, untag_resource)
    for function in added:
        setattr(_Scaling, function.__name__, function)


def keep_logging_config() -> None:
    """Lambda: LoggingConfig is dropped."""
    kept: dict[str, Any] = {}
    create, describe = _Lambda.create_function, _Function.get_configuration

    def create_function(self: Any) -> Any:
        kept[self.json_body["FunctionName"]] = self.json_body.get("LoggingConfig")
        return create(self)

    def get_configuration(self: Any, on_create: bool = False) -> dict[str, Any]:
        found: dict[str, Any] = describe(self, on_create)
        if kept.get(self.function_name):
            found["LoggingConfig"] = kept[self.function_name]
        return found

    _Lambda.create_function = create_function
    _Function.get_configuration = get_configuration


def keep_service_settings() -> None:
    """ECS: a service's deployment configuration and zone rebalancing are dropped."""
    stock = _Ecs.create_service

    def create_service(self: Any) -> Any:
        answer = stock(self)
        service = answer._result["service"]
        service.deployment_configuration = self._get_param("deploymentConfiguration")
        service.availability_zone_rebalancing = self._get_param("availabilityZoneRebalancing")
        service.deployment_controller = None
        return answer

    _Ecs.create_service = create_service


GAPS: Final[tuple[Callable[[], None], ...]] = (
    keep_redrive_policies,
    keep_scaling_tags,
    keep_logging_config,
    keep_service_settings,
)


def main() -> None:
    """Serve on the port that is given, on loopback, until a signal ends it."""
    from moto.server import main as serve

    for fill in GAPS:
        fill()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    serve(["-H", "127.0.0.1", "-p", sys.argv[1]])


if __name__ == "__main__":
    main()
