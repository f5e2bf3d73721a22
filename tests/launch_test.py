"""Static checks of the launch files and of what they name: python3 tests/launch_test.py

They read the source only, so they need no ROS 2. With `launch` and `launch_ros` installed the files are loaded too.
"""

import ast
import importlib.util
import re
import tomllib
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
HAS_LAUNCH = all(importlib.util.find_spec(name) for name in ("launch", "launch_ros"))


def calls(file, name):
    """The calls of `name` in a Python file."""
    return [
        node for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == name]


def strings(node):
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def keyword(call, name):
    return next((word.value for word in call.keywords if word.arg == name), None)


class LaunchFiles(unittest.TestCase):
    def test_every_argument_is_described_and_has_a_default(self):
        for file in FILES:
            for call in calls(file, "DeclareLaunchArgument"):
                argument = call.args[0].value
                with self.subTest(file=file.name, argument=argument):
                    self.assertIsNotNone(keyword(call, "description"))
                    # Whose robot it is must be said: no gains are right for all.
                    is_required = (file.name, argument) in [
                        ("robot.launch.py", "params_file"), ("base_robot.launch.py", "params_file")]
                    self.assertEqual(keyword(call, "default_value") is None, is_required)

    def test_every_configuration_that_is_read_is_declared(self):
        for file in FILES:
            included = "base_robot" if "base" in file.name else "robot"
            shared = calls(ROOT / f"launch/{included}.launch.py", "DeclareLaunchArgument")
            declared = {call.args[0].value for call in shared} | {call.args[0].value for call in calls(file, "DeclareLaunchArgument")}
            read = {call.args[0].value for call in calls(file, "LaunchConfiguration")}
            with self.subTest(file=file.name):
                self.assertLessEqual(read, declared)

    def test_our_executables_are_those_of_cargo_and_cmake(self):
        binaries = {binary["name"] for binary in tomllib.loads((ROOT / "Cargo.toml").read_text())["bin"]}
        launched = {
            call.args[0].value for name in ("robot", "base_robot")
            for call in calls(ROOT / f"launch/{name}.launch.py", "node")
        } | {
            keyword(call, "executable").value for file in FILES for call in calls(file, "Node")
            if strings(keyword(call, "package")) == ["learned_control"] and isinstance(keyword(call, "executable"), ast.Constant)}
        self.assertEqual(
            launched, {"predictor", "controller", "learner", "simulator", "base_controller", "base_predictor",
                       "base_learner", "base_simulator"})
        self.assertLessEqual(launched, binaries)
        for executable in binaries:
            self.assertIn(executable, (ROOT / "CMakeLists.txt").read_text())

    def test_every_package_is_a_dependency(self):
        manifest = ElementTree.parse(ROOT / "package.xml").getroot()
        known = {entry.text for entry in manifest if entry.tag in ("depend", "exec_depend")} | {manifest.findtext("name")}
        self.assertEqual(manifest.findtext("name"), "learned_control")
        for file in FILES:
            used = {name for call in calls(file, "FindPackageShare") for name in strings(call)}
            used |= {keyword(call, "package").value for call in calls(file, "Node")}
            used |= {name for call in calls(file, "FindExecutable") for name in strings(call)}
            with self.subTest(file=file.name):
                self.assertLessEqual(used, known)

    def test_message_packages_of_the_build_are_dependencies(self):
        manifest = {entry.text for entry in ElementTree.parse(ROOT / "package.xml").getroot()}
        wanted = tomllib.loads((ROOT / ".cargo/config.toml").read_text())["env"]["IDL_PACKAGE_FILTER"].split(";")
        optional = {"nav2_msgs", "geographic_msgs"}
        self.assertLessEqual(set(wanted) - optional, manifest)

    def test_files_in_the_share_folder_exist(self):
        for file in FILES:
            for call in calls(file, "PathJoinSubstitution"):
                parts = strings(call)
                path = "/".join(part for part in parts if part != "learned_control")
                if "ros_gz_sim" in parts:
                    continue
                with self.subTest(file=file.name, path=path):
                    self.assertTrue((ROOT / path).is_file())

    def test_version_is_that_of_cargo(self):
        cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
        manifest = ElementTree.parse(ROOT / "package.xml").getroot()
        self.assertEqual((cargo["version"], cargo["license"]), (manifest.findtext("version"), manifest.findtext("license")))

    def test_no_path_of_a_computer(self):
        files = [*FILES, *(ROOT / "config").iterdir(), *(ROOT / "urdf").iterdir(), ROOT / "CMakeLists.txt", ROOT / "package.xml"]
        for file in files:
            with self.subTest(file=file.name):
                self.assertIsNone(re.search(r"/(work|home|root|opt|Users)/\w", file.read_text()))

    @unittest.skipUnless(HAS_LAUNCH, "launch and launch_ros are not installed")
    def test_files_load(self):
        from launch.launch_description_sources import get_launch_description_from_python_launch_file

        for file in FILES:
            with self.subTest(file=file.name):
                self.assertTrue(get_launch_description_from_python_launch_file(str(file)).entities)


if __name__ == "__main__":
    unittest.main()
