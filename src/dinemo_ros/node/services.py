# SPDX-License-Identifier: Apache-2.0
"""The services that every node has, with an end to what a request may hold.

Anybody on the graph may call them. rclpy's own answer a million names with a gigabyte of objects, give a text of any
length back, and raise on a type that ROS does not have, which ends the executor and with it the node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, SetParametersResult
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.node import Node
from rclpy.parameter_service import ParameterService

from ..io.quoting import quoted

if TYPE_CHECKING:
    from rclpy.impl.implementation_singleton import rclpy_implementation

#: Names or prefixes in one request.
MOST_NAMES = 1000
_NAME_SHOWN = 80
ChangeStateCallback = Callable[[ChangeState.Request, ChangeState.Response], ChangeState.Response]
#: From this number on a state is one on the way between two others.
FIRST_TRANSITION_STATE = State.TRANSITION_STATE_CONFIGURING

_TYPES = range(ParameterType.PARAMETER_NOT_SET, ParameterType.PARAMETER_STRING_ARRAY + 1)


class BoundedParameterService(ParameterService):
    """rclpy's parameter services for requests of a size to answer; the others are refused in a sentence.

    For a node that is made with ``start_parameter_services=False``. ``fixed``: names of rclpy's own parameters that
    cannot be changed here, besides those that are read-only.
    """

    def __init__(self, node: Node, fixed: Collection[str] = ()) -> None:
        super().__init__(node)
        self._fixed = fixed

    def _set_parameters_callback(self, request: SetParameters.Request,
                                 response: SetParameters.Response) -> SetParameters.Response:
        if len(request.parameters) > MOST_NAMES:
            response.results = [_refused(_too_many(len(request.parameters)))] * len(request.parameters)
            return response
        for parameter in request.parameters:
            if problem := self._problem(parameter):
                response.results.append(_refused(problem))
            else:
                request.parameters = [parameter]
                super()._set_parameters_callback(request, response)
        return response

    def _set_parameters_atomically_callback(
            self, request: SetParametersAtomically.Request,
            response: SetParametersAtomically.Response) -> SetParametersAtomically.Response:
        if len(request.parameters) > MOST_NAMES:
            response.result = _refused(_too_many(len(request.parameters)))
            return response
        problem = next(filter(None, map(self._problem, request.parameters)), "")
        if problem:
            response.result = _refused(problem)
            return response
        return super()._set_parameters_atomically_callback(request, response)

    def _problem(self, parameter: Parameter) -> str:
        """Why the request cannot be for this node, or an empty string. Values are the business of its own checks."""
        node, name = self._get_node(), parameter.name
        if not node.has_parameter(name):
            return f"there is no parameter {quoted(name, _NAME_SHOWN)}; 'ros2 param list' tells what this node has"
        if parameter.value.type not in _TYPES:
            return f"parameter '{name}' comes with type {parameter.value.type}, which ROS does not have"
        if name in self._fixed or node.describe_parameter(name).read_only:
            return (f"parameter '{name}' is fixed at the start, so that nobody on the graph can change it: set it "
                    f"where the node is started (launch argument, parameter file, or --ros-args -p {name}:=VALUE)")
        return ""

    # Empty is what rclpy answers about names that it does not know.

    def _get_parameters_callback(self, request: GetParameters.Request,
                                 response: GetParameters.Response) -> GetParameters.Response:
        return response if len(request.names) > MOST_NAMES else super()._get_parameters_callback(request, response)

    def _get_parameter_types_callback(self, request: GetParameterTypes.Request,
                                      response: GetParameterTypes.Response) -> GetParameterTypes.Response:
        return response if len(request.names) > MOST_NAMES else super()._get_parameter_types_callback(request, response)

    def _describe_parameters_callback(self, request: DescribeParameters.Request,
                                      response: DescribeParameters.Response) -> DescribeParameters.Response:
        return response if len(request.names) > MOST_NAMES else super()._describe_parameters_callback(request, response)

    def _list_parameters_callback(self, request: ListParameters.Request,
                                  response: ListParameters.Response) -> ListParameters.Response:
        return response if len(request.prefixes) > MOST_NAMES else super()._list_parameters_callback(request, response)


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)


def _too_many(count: int) -> str:
    return f"{count} parameters in one request; at most {MOST_NAMES} are taken: set those that this node has"


def only_possible(change_state: ChangeStateCallback, machine: rclpy_implementation.LifecycleStateMachine,
                  refuse: Callable[[str], None]) -> ChangeStateCallback:
    """The callback of a ``change_state`` service, which is asked about transitions only that the state has.

    rcl and rclpy print two lines about every other one, with a label of any length, and take those that end a
    transition (``transition_success``) from anybody: the node would be inactive in the middle of configuring.

    machine: the node's state machine. refuse: is told a sentence.
    """
    def answer(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        wanted, (number, state) = request.transition.label or request.transition.id, machine.current_state
        possible = {} if number >= FIRST_TRANSITION_STATE else {
            key: label for identity, label, *_ in machine.available_transitions for key in (identity, label)}
        if wanted in possible:
            return change_state(request, response)
        names = ", ".join(dict.fromkeys(possible.values())) or "none until that has ended"
        refuse(f"change_state: transition {quoted(str(wanted), _NAME_SHOWN)} is refused, the node is {state}; "
               f"possible: {names}")
        response.success = False
        return response

    return answer
