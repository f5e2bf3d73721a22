"""A ROS 2 node that does what a test asks it to: one JSON request a line on stdin, one JSON answer a line on stdout.

What `ros2 topic echo`, `ros2 topic pub`, `ros2 param` and `ros2 service call` do, in one process that stays.
"""

import importlib
import json
import math
import sys
import threading
import time

import rclpy
from rcl_interfaces.msg import Parameter, ParameterType
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy


def kind(name):
    """The class of 'sensor_msgs/msg/JointState'."""
    package, folder, name = name.split("/")
    return getattr(importlib.import_module(f"{package}.{folder}"), name)


def to_json(value):
    if hasattr(value, "get_fields_and_field_types"):
        return {field: to_json(getattr(value, field)) for field in value.get_fields_and_field_types()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if hasattr(value, "tolist"):  # arrays, and numbers of NumPy
        return to_json(value.tolist())
    if isinstance(value, bytes):
        return value[0]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def fill(message, values):
    """Sets the fields that `values` names; the strings 'nan' and 'inf' become floats."""
    types = message.get_fields_and_field_types()
    for field, value in values.items():
        if isinstance(value, dict):
            fill(getattr(message, field), value)
        elif types[field].startswith("sequence<") and "/" in types[field]:
            package, name = types[field][len("sequence<"):-1].split("/")
            setattr(message, field, [fill(kind(f"{package}/msg/{name}")(), item) for item in value])
        elif types[field] == "sequence<double>":
            setattr(message, field, [float(item) for item in value])
        else:
            setattr(message, field, value)
    return message


class Peer:
    def __init__(self):
        rclpy.init()
        self.node = rclpy.create_node("peer")
        self.messages = {}
        self.publishers = {}
        self.actions = {}
        self.goals = []
        self.lock = threading.Lock()
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        threading.Thread(target=self.spin, daemon=True).start()

    def spin(self):
        try:
            self.executor.spin()
        except ExternalShutdownException:
            pass

    def subscribe(self, topic, type, keep=1, latched=False, reliable=False):
        """Keeps the newest messages of a topic."""
        def receive(message):
            with self.lock:
                self.messages[topic] = (self.messages[topic] + [message])[-keep:]
        self.messages[topic] = []
        qos = QoSProfile(depth=min(keep, 1000), reliability=ReliabilityPolicy.RELIABLE if latched or reliable else ReliabilityPolicy.BEST_EFFORT)
        if latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self.node.create_subscription(kind(type), topic, receive, qos)

    def take(self, topic):
        """The messages kept since the last call."""
        with self.lock:
            messages, self.messages[topic] = self.messages[topic], []
        return [to_json(message) for message in messages]

    def tracking_error(self, topic, duration):
        """Root mean square over joints and the next `duration` seconds (by the stamps) of the error in a sample."""
        self.take(topic)
        first, squares, count = None, 0.0, 0
        give_up = time.monotonic() + 10.0 * duration + 10.0
        while time.monotonic() < give_up:
            with self.lock:
                messages, self.messages[topic] = self.messages[topic], []
            for message in messages:
                stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
                first = stamp if first is None else first
                squares += sum(error * error for error in message.points[2].positions)
                count += len(message.points[2].positions)
                if stamp - first >= duration:
                    return {"rms": math.sqrt(squares / count), "count": count}
            time.sleep(0.02)
        raise TimeoutError(f"{topic}: {count} errors in {10.0 * duration + 10.0} s")

    def advertise(self, topic, type, latched=False):
        qos = QoSProfile(depth=10)
        if latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self.publishers[topic] = (self.node.create_publisher(kind(type), topic, qos), kind(type))

    def publish(self, topic, message):
        publisher, type = self.publishers[topic]
        publisher.publish(fill(type(), message))

    def in_step(self, topic, messages, answers, before=None):
        """Publishes messages one by one, each when every topic of `answers` has had a message since the one before.

        `before`: a topic and a message for each, or none, published there long enough before to be heard first.
        """
        for index, message in enumerate(messages):
            if before is not None and before["messages"][index] is not None:
                self.publish(before["topic"], before["messages"][index])
                time.sleep(0.05)
            with self.lock:
                heard = {answer: len(self.messages[answer]) for answer in answers}
            self.publish(topic, message)
            give_up = time.monotonic() + 20.0
            while any(len(self.messages[answer]) <= heard[answer] for answer in answers):
                if time.monotonic() > give_up:
                    raise TimeoutError(f"message {index} on {topic}: no answer on all of {answers} in 20 s")
                time.sleep(0.0005)

    def matched(self, topic):
        """How many subscribers would get what is published."""
        return self.publishers[topic][0].get_subscription_count()

    def nodes(self):
        return [f"{namespace.rstrip('/')}/{name}" for name, namespace in self.node.get_node_names_and_namespaces()]

    def topics(self):
        return {name: types for name, types in self.node.get_topic_names_and_types()}

    def call(self, service, type, request={}):
        return to_json(self.request(kind(type), service, fill(kind(type).Request(), request)))

    def wait(self, future, what):
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(20.0):
            raise TimeoutError(f"no {what}")
        return future.result()

    def send_goal(self, action, type, goal):
        """Asks for a goal; its number, or none where it is rejected."""
        # What it imports takes half a second of computing, in which a test that is none of its business shall not share.
        from rclpy.action import ActionClient
        if action not in self.actions:
            self.actions[action] = ActionClient(self.node, kind(type), action)
        client, feedback = self.actions[action], []
        if not client.wait_for_server(20.0):
            raise TimeoutError(f"no action {action}")
        message = fill(kind(type).Goal(), goal)
        receive = lambda message: feedback.append(message.feedback)
        handle = self.wait(client.send_goal_async(message, feedback_callback=receive), f"answer from {action}")
        if not handle.accepted:
            return None
        # asked for at once, as clients do: it comes when there is one
        self.goals.append((handle, handle.get_result_async(), feedback))
        return len(self.goals) - 1

    def cancel_goal(self, number):
        """What the server says to it, and how many goals it cancels."""
        response = self.wait(self.goals[number][0].cancel_goal_async(), "answer to a cancel request")
        return {"return_code": response.return_code, "goals": len(response.goals_canceling)}

    def result(self, number):
        """How a goal ended: status, result and feedback."""
        _, result, feedback = self.goals[number]
        response = self.wait(result, "result")
        return {"status": response.status, "result": to_json(response.result), "feedback": to_json(feedback)}

    def request(self, type, service, request):
        client = self.node.create_client(type, service)
        try:
            if not client.wait_for_service(20.0):
                raise TimeoutError(f"no service {service}")
            return self.wait(client.call_async(request), f"answer from {service}")
        finally:
            self.node.destroy_client(client)

    def parameters(self, node):
        return self.request(ListParameters, f"{node}/list_parameters", ListParameters.Request()).result.names

    def get_parameter(self, node, name):
        value = self.request(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=[name])).values[0]
        fields = {
            ParameterType.PARAMETER_BOOL: "bool_value",
            ParameterType.PARAMETER_INTEGER: "integer_value",
            ParameterType.PARAMETER_DOUBLE: "double_value",
            ParameterType.PARAMETER_STRING: "string_value",
            ParameterType.PARAMETER_DOUBLE_ARRAY: "double_array_value",
        }
        return to_json(getattr(value, fields[value.type])) if value.type in fields else None

    def set_parameter(self, node, name, value):
        parameter = Parameter(name=name)
        if isinstance(value, bool):
            parameter.value.type, parameter.value.bool_value = ParameterType.PARAMETER_BOOL, value
        elif isinstance(value, float):
            parameter.value.type, parameter.value.double_value = ParameterType.PARAMETER_DOUBLE, value
        elif isinstance(value, str):
            parameter.value.type, parameter.value.string_value = ParameterType.PARAMETER_STRING, value
        result = self.request(SetParameters, f"{node}/set_parameters", SetParameters.Request(parameters=[parameter])).results[0]
        return {"successful": result.successful, "reason": result.reason}

    def answer(self, request):
        name = request.pop("do")
        try:
            return {"ok": getattr(self, name)(**request)}
        except Exception as error:
            return {"error": f"{name}: {type(error).__name__}: {error}"}


def main():
    peer = Peer()
    for line in sys.stdin:
        print(json.dumps(peer.answer(json.loads(line))), flush=True)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
