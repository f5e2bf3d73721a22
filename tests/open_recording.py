"""Opens a recording with rosbags and with mcap and checks what is in it; called by tests/recordings.rs.

Decodes by the definitions in the file itself. Exits with 77 where the packages are not installed.
"""

import sys
from pathlib import Path

try:
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory
    from rosbags.highlevel import AnyReader
except ImportError as error:
    print(error)
    sys.exit(77)

folder = Path(sys.argv[1])
expected = {"/command": 100, "/joint_states": 100, "/odom": 100, "/reference": 100}


def check(topic, step, message):
    if topic == "/joint_states":
        assert list(message.name) == ["a", "b"] and list(message.velocity) == [0.5, -0.5]
        assert list(message.position) == [float(step), 0.1]
        assert message.header.frame_id == "frame"
    elif topic == "/odom":
        assert message.child_frame_id == "base" and message.pose.pose.position.x == 0.25 * step
        assert message.twist.twist.angular.z == 0.125 and list(message.pose.covariance)[7] == 2.0
    elif topic == "/command":
        assert list(message.data) == [float(step)] and message.layout.dim[0].label == "joint"
    else:
        assert list(message.joint_names) == ["a"] and list(message.points[1].positions) == [3.0]
        assert message.points[1].time_from_start.nanosec == 7


with AnyReader([folder]) as reader:  # reads metadata.yaml too
    assert {c.topic: c.msgcount for c in reader.connections} == expected, reader.connections
    counts = dict.fromkeys(expected, 0)
    for connection, stamp, data in reader.messages():
        step = counts[connection.topic]
        assert stamp == 1_700_000_000_000_000_000 + step
        check(connection.topic, step, reader.deserialize(data, connection.msgtype))
        counts[connection.topic] += 1
    assert counts == expected

with next(folder.glob("*.mcap")).open("rb") as stream:
    reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
    assert reader.get_header().profile == "ros2"
    summary = reader.get_summary()
    assert summary.statistics.message_count == 400 and len(summary.chunk_indexes) > 1
    counts = dict.fromkeys(expected, 0)
    for _, channel, _, message in reader.iter_decoded_messages():
        check(channel.topic, counts[channel.topic], message)
        counts[channel.topic] += 1
    assert counts == expected
print("opened")
