#!/usr/bin/env python3
"""Compile message packages into a ROS 2 prefix, for C and for Python, as `rosidl_generate_interfaces` of CMake does.

    PYTHONPATH=PREFIX/lib/python3.11/site-packages interfaces.py PREFIX DEFINITIONS [PYTHON_HEADERS]

DEFINITIONS has a folder for each package, with msg/, srv/ and action/ in it. The wheels of ROS 2 have the
generators, but not every package that a robot's ROS 2 has: those of which nodes use something are made here, with
that alone in them. Without PYTHON_HEADERS, the folder of Python.h, there is nothing for Python.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rosidl_adapter import convert_to_idl
from rosidl_generator_c import generate_c
from rosidl_generator_py import generate_py
from rosidl_generator_type_description import generate_type_hash
from rosidl_typesupport_c import generate_c as generate_typesupport
from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
from rosidl_typesupport_introspection_c import generate_c as generate_introspection

SITE = "lib/python3.11/site-packages"
KINDS = ["msg", "srv", "action"]
SUPPORTS = ["rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c"]
C_LIBRARIES = ["rosidl_generator_c", *SUPPORTS, "rosidl_typesupport_c"]
RUNTIME = ["rosidl_runtime_c", "rcutils", "fastcdr", "rosidl_typesupport_fastrtps_cpp", "rosidl_typesupport_c", *SUPPORTS]


class Package:
    """A message package on its way from its definitions into a prefix."""

    def __init__(self, definitions, prefix, work):
        self.name, self.definitions, self.prefix, self.work = definitions.name, definitions, prefix, work
        self.share = prefix / "share" / self.name
        self.files = sorted(file for kind in KINDS for file in (definitions / kind).glob(f"*.{kind}"))
        self.interfaces = [file.relative_to(definitions) for file in self.files]

    def generated(self, generator):
        """Where a generator puts its files."""
        return self.work / generator / self.name

    def arguments(self, generator, **more):
        """A file with what a generator must know."""
        neighbours = [path for path in (self.prefix / "share").iterdir() if any((path / kind).is_dir() for kind in KINDS)]
        values = {
            "package_name": self.name,
            "output_dir": str(self.generated(generator)),
            "template_dir": str(self.prefix / "share" / generator / "resource"),
            "idl_tuples": [f"{self.share}:{path.with_suffix('.idl')}" for path in self.interfaces],
            "include_paths": [f"{path.name}:{path}" for path in neighbours],
            "ros_interface_files": [str(file) for file in self.files],
            "ros_interface_dependencies": [],
            "target_dependencies": [],
        }
        path = self.work / f"{generator}.json"
        path.write_text(json.dumps(values | more))
        return str(path)

    def describe(self):
        """The definitions as they are, as IDL, and with their hashes."""
        for file, path in zip(self.files, self.interfaces):
            convert_to_idl(self.definitions, self.name, path, self.share)
            shutil.copy(file, self.share / path)
        generate_type_hash(self.arguments("rosidl_generator_type_description"))
        for path in (path.with_suffix(".json") for path in self.interfaces):
            shutil.copy(self.generated("rosidl_generator_type_description") / path, self.share / path)

    def generate(self):
        """The sources in C, and their headers in the prefix."""
        described = [f"{path.with_suffix('.idl')}:{self.share / path.with_suffix('.json')}" for path in self.interfaces]
        generate_c(self.arguments("rosidl_generator_c", type_description_tuples=described))
        generate_introspection(self.arguments("rosidl_typesupport_introspection_c"))
        generate_typesupport_fastrtps_c(self.arguments("rosidl_typesupport_fastrtps_c"))
        generate_typesupport(self.arguments("rosidl_typesupport_c"), SUPPORTS)
        names = {"@PROJECT_NAME@": self.name, "@PROJECT_NAME_UPPER@": self.name.upper()}
        for generator in ["rosidl_generator_c", *SUPPORTS]:
            template = self.prefix / "share" / generator / "resource" / f"{generator}__visibility_control.h.in"
            text = template.read_text()
            for word, name in names.items():
                text = text.replace(word, name)
            header = self.generated(generator) / "msg" / template.stem
            header.parent.mkdir(parents=True, exist_ok=True)
            header.write_text(text)
            headers = self.prefix / "include" / self.name / self.name
            not_headers = shutil.ignore_patterns("*.c", "*.cpp")
            shutil.copytree(self.generated(generator), headers, ignore=not_headers, dirs_exist_ok=True)

    def compile(self, sources, target, *flags):
        """Make a library that finds what it needs of the prefix."""
        prefix = self.prefix
        generators = [*C_LIBRARIES, "rosidl_generator_py"]
        libraries = [path for name in generators for path in sorted((prefix / "lib").glob(f"lib*__{name}.so"))]
        libraries = [path for path in libraries if path != target]
        include = prefix / "include"
        compiler = "c++" if any(source.suffix == ".cpp" for source in sources) else "cc"
        words = ["-O2", "-w", "-fPIC", "-shared", f"-Wl,-soname,{target.name}", "-o", target, *flags, f"-I{include}"]
        words += [f"-I{path}" for path in include.iterdir()]
        words += [*sources, f"-L{prefix / 'lib'}", "-Wl,--as-needed", *libraries, *(f"-l{name}" for name in RUNTIME)]
        done = subprocess.run([compiler, *map(str, words)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{self.name} could not be compiled: {done.stderr[-2000:]}")

    def compile_c(self):
        for library in C_LIBRARIES:
            sources = [path for path in self.generated(library).rglob("*") if path.suffix in (".c", ".cpp")]
            target = self.prefix / "lib" / f"lib{self.name}__{library}.so"
            self.compile(sources, target, "-Wl,-rpath,$ORIGIN", "-Wl,--no-undefined")

    def compile_python(self, headers):
        site = self.prefix / SITE
        generate_py(self.arguments("rosidl_generator_py"), ["rosidl_typesupport_c"])
        module = self.generated("rosidl_generator_py")
        (module / "__init__.py").touch()
        flags = [f"-I{path}" for path in (headers, site / "numpy/_core/include", module.parent)]
        library = self.prefix / "lib" / f"lib{self.name}__rosidl_generator_py.so"
        self.compile([*module.rglob("*_s.c")], library, "-Wl,-rpath,$ORIGIN", *flags)
        extension = module / f"{self.name}_s__rosidl_typesupport_c.so"
        self.compile([*module.glob("*_s.ep.*.c")], extension, "-Wl,-rpath,$ORIGIN/../../..", *flags)
        shutil.copytree(module, site / self.name, ignore=shutil.ignore_patterns("*.c"))

    def register(self):
        """Where tools look for packages."""
        index = self.prefix / "share/ament_index/resource_index"
        names = [str(name) for path in self.interfaces for name in (path.with_suffix(".idl"), path)]
        (index / "rosidl_interfaces" / self.name).write_text("\n".join(names))
        (index / "packages" / self.name).touch()


def main(prefix, definitions, python_headers=None):
    for folder in sorted(Path(definitions).resolve().iterdir()):
        with tempfile.TemporaryDirectory() as work:
            package = Package(folder, Path(prefix).resolve(), Path(work))
            package.describe()
            package.generate()
            package.compile_c()
            if python_headers:
                package.compile_python(python_headers)
            package.register()


if __name__ == "__main__":
    main(*sys.argv[1:])
