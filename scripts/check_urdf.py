#!/usr/bin/env python3
"""Check the robot and world descriptions: python3 scripts/check_urdf.py

No parser complains of a misspelt attribute, a moving link without inertia or an impossible inertia, and the
simulators then quietly compute something else. So there are checks of our own here, for Python alone. Where
xacro and libsdformat's `ign` (Debian: ignition-tools sdformat-sdf libsdformat-dev) are installed they are used too.
"""

import math
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What may stand in a URDF: path of element names -> attributes. Parsers ignore anything else without a word.
POSE = {"origin": "xyz rpy"}
SHAPES = {
    "geometry": "", "geometry/box": "size", "geometry/cylinder": "radius length", "geometry/sphere": "radius",
    "geometry/mesh": "filename scale",
}
URDF = {
    "link": "name", "joint": "name type", "material": "name", "material/color": "rgba",
    "link/inertial": "", "link/inertial/origin": "xyz rpy", "link/inertial/mass": "value",
    "link/inertial/inertia": "ixx ixy ixz iyy iyz izz",
    **{f"link/{kind}": "name" for kind in ("visual", "collision")},
    **{f"link/{kind}/{path}": names for kind in ("visual", "collision") for path, names in {**POSE, **SHAPES}.items()},
    "link/visual/material": "name", "link/visual/material/color": "rgba",
    "joint/origin": "xyz rpy", "joint/parent": "link", "joint/child": "link", "joint/axis": "xyz",
    "joint/limit": "lower upper effort velocity", "joint/dynamics": "damping friction",
    "joint/mimic": "joint multiplier offset",
}


def unknown_words(element, path=""):
    """Elements and attributes that URDF does not have, hence typing errors."""
    for child in element:
        where = f"{path}/{child.tag}".strip("/")
        if where not in URDF:
            yield f"<{where}> is unknown"
            continue
        for name in child.attrib.keys() - set(URDF[where].split()):
            yield f"<{where}> has no attribute {name!r}"
        yield from unknown_words(child, where)


def positive_definite(m):
    """Sylvester's criterion for a symmetric 3x3 matrix."""
    minor = m[0][0] * m[1][1] - m[0][1] ** 2
    determinant = (
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] ** 2)
        - m[0][1] * (m[0][1] * m[2][2] - m[1][2] * m[0][2])
        + m[0][2] * (m[0][1] * m[1][2] - m[1][1] * m[0][2]))
    return m[0][0] > 0 and minor > 0 and determinant > 0


def inertia_problems(link):
    """What keeps the link from being a body that can exist; a moving link must have an inertia."""
    inertial = link.find("inertial")
    if inertial is None:
        yield "moves, but has no <inertial>"
        return
    if not float(inertial.find("mass").get("value")) > 0:
        yield "mass is not positive"
    xx, xy, xz, yy, yz, zz = (float(inertial.find("inertia").get(k)) for k in "ixx ixy ixz iyy iyz izz".split())
    inertia = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
    if not positive_definite(inertia):
        yield "inertia is not positive definite"
    # tr(I)/2 - I is the matrix of second moments of mass: positive just when no principal moment exceeds the sum
    # of the other two.
    half_trace = (xx + yy + zz) / 2
    if not positive_definite([[half_trace * (i == j) - inertia[i][j] for j in range(3)] for i in range(3)]):
        yield "inertia violates the triangle inequality"


def joint_problems(joint):
    """A joint that moves needs a range, an effort, a velocity, damping and friction."""
    if joint.get("type") not in ("revolute", "continuous", "prismatic"):
        yield f"type {joint.get('type')} is unknown here"
    limit, dynamics = joint.find("limit"), joint.find("dynamics")
    limit = {} if limit is None else limit.attrib
    dynamics = {} if dynamics is None else dynamics.attrib
    for what, attributes, name in (
            ("limit", limit, "effort"), ("limit", limit, "velocity"),
            ("dynamics", dynamics, "damping"), ("dynamics", dynamics, "friction")):
        value = float(attributes.get(name, "nan"))
        if not (value > 0 and math.isfinite(value)):
            yield f"<{what} {name}> must be positive, but is {attributes.get(name)}"
    if joint.get("type") != "continuous" and not float(limit.get("lower", "nan")) < float(limit.get("upper", "nan")):
        yield "<limit lower upper> must be a range"
    axis = joint.find("axis")
    if axis is None or not math.isclose(math.hypot(*map(float, axis.get("xyz").split())), 1, rel_tol=1e-6):
        yield "<axis> must be given, and of length 1"


def tree_problems(robot):
    """Names used once, one root, every joint between known links."""
    links = [link.get("name") for link in robot.findall("link")]
    joints = [joint.get("name") for joint in robot.findall("joint")]
    for names in (links, joints):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{name} is there twice"
    parents = {joint.find("child").get("link"): joint.find("parent").get("link") for joint in robot.findall("joint")}
    for name in sorted((parents.keys() | set(parents.values())) - set(links)):
        yield f"a joint names the link {name}, which is not there"
    roots = [name for name in links if name not in parents]
    if len(roots) != 1:
        yield f"there must be one root link, but there are {roots}"
    materials = {material.get("name") for material in robot.findall("material")}
    for name in sorted({material.get("name") for material in robot.findall("link/visual/material")} - materials):
        yield f"material {name} is not defined"


def urdf_problems(robot):
    basic = [*unknown_words(robot), *tree_problems(robot)]
    yield from basic
    if basic:
        return
    moving = [joint for joint in robot.findall("joint") if joint.get("type") != "fixed"]
    for joint in moving:
        yield from (f"{joint.get('name')}: {problem}" for problem in joint_problems(joint))
        link = joint.find("child").get("link")
        yield from (f"{link}: {problem}" for problem in inertia_problems(robot.find(f"link[@name='{link}']")))
    for link in robot.findall("link"):  # of the links that do not move on their own, those that have an inertia
        if link.find("inertial") is not None and link.get("name") not in {j.find("child").get("link") for j in moving}:
            yield from (f"{link.get('name')}: {problem}" for problem in inertia_problems(link))


def xacro_problems(robot, expanded):
    """The expanded xacro must hold the same arm, and its ros2_control block must agree with it."""
    for kind in ("link", "joint"):
        for element in robot.findall(kind):
            other = expanded.find(f"{kind}[@name='{element.get('name')}']")
            if other is None or canonical(other) != canonical(element):
                yield f"{element.get('name')} is missing or different"
    moving = {joint.get("name"): joint.find("limit") for joint in robot.findall("joint") if joint.get("type") != "fixed"}
    controlled = expanded.findall("ros2_control/joint")
    if [joint.get("name") for joint in controlled] != list(moving):
        yield "<ros2_control> must list the joints in the order of the URDF"
        return
    for joint in controlled:
        limit = moving[joint.get("name")]
        for name in ("effort", "velocity"):
            interface = f"command_interface[@name='{name}']/param[@name='%s']"
            bounds = [float(joint.find(interface % bound).text) for bound in ("min", "max")]
            if bounds != [-float(limit.get(name)), float(limit.get(name))]:
                yield f"{joint.get('name')}: {name} {bounds} is not the URDF's {limit.get(name)}"
        ready = float(joint.find("state_interface[@name='position']/param[@name='initial_value']").text)
        if not float(limit.get("lower")) < ready < float(limit.get("upper")):
            yield f"{joint.get('name')}: initial position {ready} is outside its limits"


def canonical(element):
    return ElementTree.canonicalize(ElementTree.tostring(element, encoding="unicode"), strip_text=True)


def controllers_problems(robot, controllers):
    """Float64MultiArray has no names, so the order of effort_controller's joints is a contract."""
    moving = [joint.get("name") for joint in robot.findall("joint") if joint.get("type") != "fixed"]
    if [name.strip() for name in re.search(r"joints: \[(.*)\]", controllers.read_text()).group(1).split(",")] != moving:
        yield "the joints are not in the order of the URDF"


def expand(xacro_file, *arguments):
    """The result of xacro as text; the controllers file is named so that no ROS 2 is needed to find it."""
    controllers = f"controllers_file:={ROOT / 'config/gazebo_controllers.yaml'}"
    return subprocess.run(
        ["xacro", str(xacro_file), controllers, *arguments], check=True, capture_output=True, text=True).stdout


def sdformat_problems(file):
    """`ign sdf -k` reports some errors on stderr only and then says Valid with exit code 0."""
    result = subprocess.run(["ign", "sdf", "-k", str(file)], capture_output=True, text=True)
    lines = [line for line in (result.stderr + result.stdout).splitlines() if "libignition-tools-backward" not in line]
    if result.returncode or "Valid." not in lines or any("error" in line.lower() for line in lines):
        yield "; ".join(lines) or f"ign sdf ended with {result.returncode}"


def main():
    arm_file, xacro_file = ROOT / "urdf/arm.urdf", ROOT / "urdf/arm.urdf.xacro"
    controllers, worlds = ROOT / "config/gazebo_controllers.yaml", sorted((ROOT / "config").glob("*.sdf"))
    arm = ElementTree.parse(arm_file).getroot()
    found, skipped = [], []

    def report(what, problems):
        problems = list(problems)
        found.extend(problems)
        print(f"{what}: {'ok' if not problems else ''}", *problems, sep="\n  " if problems else "")

    for file in sorted((ROOT / "urdf").glob("*.urdf")):
        report(file.relative_to(ROOT), urdf_problems(ElementTree.parse(file).getroot()))
    report(controllers.relative_to(ROOT), controllers_problems(arm, controllers))
    for world in worlds:
        version = ElementTree.parse(world).getroot().get("version")
        too_new = tuple(map(int, version.split("."))) > (1, 9)
        report(world.relative_to(ROOT), [f"SDF {version}: libsdformat 12 checks up to 1.9"] if too_new else [])

    with tempfile.TemporaryDirectory() as folder:
        descriptions = [*sorted((ROOT / "urdf").glob("*.urdf")), *worlds]
        if shutil.which("xacro"):
            for sim in ("gazebo", "none"):
                text = expand(xacro_file, f"sim:={sim}")
                report(f"{xacro_file.relative_to(ROOT)} sim:={sim}", xacro_problems(arm, ElementTree.fromstring(text)))
                descriptions.append(Path(folder, f"{sim}.urdf"))
                descriptions[-1].write_text(text)
        else:
            skipped.append("the xacro file (no `xacro`: pip install xacro)")
        if shutil.which("ign"):
            for file in descriptions:
                report(f"libsdformat on {file.name}", sdformat_problems(file))
        else:
            skipped.append("libsdformat's own checks (no `ign`: ignition-tools sdformat-sdf libsdformat-dev)")

    for what in skipped:
        print("SKIPPED:", what)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
