#!/usr/bin/env python3
"""Reads a rosbag2 folder with the readers for Python and prints how long each took, as JSON.

Called by benches/recordings.rs; needs `pip install mcap rosbags`.
"""

import json
import sys
import time
from pathlib import Path

from mcap.reader import make_reader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore


def with_mcap(file):
    with file.open("rb") as stream:
        for _, _, message in make_reader(stream).iter_messages():
            yield message.data


def with_rosbags(folder):
    with Reader(folder) as reader:
        for _, _, data in reader.messages():
            yield data


def with_rosbags_decoded(folder):
    typestore = get_typestore(Stores.ROS2_HUMBLE)
    with Reader(folder) as reader:
        for connection, _, data in reader.messages():
            typestore.deserialize_cdr(data, connection.msgtype)
            yield data


def measure(name, messages):
    began = time.perf_counter()
    count = size = 0
    for data in messages:
        count += 1
        size += len(data)
    return {"reader": name, "seconds": time.perf_counter() - began, "messages": count, "bytes": size}


def main():
    folder = Path(sys.argv[1])
    readings = [measure("mcap", with_mcap(file)) for file in folder.glob("*.mcap")]
    readings.append(measure("rosbags", with_rosbags(folder)))
    readings.append(measure("rosbags, decoded", with_rosbags_decoded(folder)))
    print(json.dumps(readings))


if __name__ == "__main__":
    main()
