"""Nodes of rclpy for benches/round_trip.rs, which starts them: `echo` answers joint states with their positions, `torch`
with what an LSTM (21-64-64-280, its state carried) and an MLP (42-128-128-7) of PyTorch make of them, in eager mode and
with one thread. `round_trip.py torch --check` only says, by its exit code, whether that can be.
"""

import sys

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

LSTM_INPUTS, HIDDEN, LAYERS, OUTPUTS = 21, 64, 2, 280
MLP = [42, 128, 128, 7]


def echo(message):
    return message.position


def torch_networks():
    import torch
    from torch import nn

    torch.set_num_threads(1)
    lstm, head = nn.LSTM(LSTM_INPUTS, HIDDEN, LAYERS), nn.Linear(HIDDEN, OUTPUTS)
    layers = [part for size in zip(MLP, MLP[1:]) for part in (nn.Linear(*size), nn.Tanh())][:-1]
    mlp, carried = nn.Sequential(*layers), [torch.zeros(LAYERS, 1, HIDDEN), torch.zeros(LAYERS, 1, HIDDEN)]

    @torch.inference_mode()
    def answer(message):
        motion = torch.tensor([list(message.position) + list(message.velocity)], dtype=torch.float32)
        inputs = torch.cat([motion, motion[:, :7]], dim=1)
        hidden, (carried[0], carried[1]) = lstm(inputs.unsqueeze(0), tuple(carried))
        head(hidden)
        return mlp(inputs.repeat(1, 2))[0].tolist()

    return answer


def main():
    answer_to = torch_networks() if sys.argv[1] == "torch" else echo
    if "--check" in sys.argv:
        return
    rclpy.init()
    node = rclpy.create_node(sys.argv[1])
    answers = node.create_publisher(Float64MultiArray, "effort_controller/commands", QoSProfile(depth=1))
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    answer = Float64MultiArray()

    def hear(message):
        answer.data = answer_to(message)
        answers.publish(answer)

    node.create_subscription(JointState, "joint_states", hear, qos)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
