"""Which folders are packages; all else about the distribution stands in setup.cfg."""

import sys

from setuptools import find_namespace_packages, find_packages, setup

# The option files lie beside the package in a checkout, inside it elsewhere: daso/settings/options.py finds either.
# Without them an editable installation is a plain entry of Python's path, and in the folder above a clone that is
# called `daso`, `import daso` is the package as well.
EDITABLE = "editable_wheel" in sys.argv

setup(
    packages=[
        *find_packages(include=["daso", "daso.*"]),
        *find_namespace_packages(include=["hydra_plugins.daso_*"], exclude=["*.__pycache__"]),
        *([] if EDITABLE else ["daso.conf"]),
    ],
    package_dir={"": "."} if EDITABLE else {"daso.conf": "conf"},
)
