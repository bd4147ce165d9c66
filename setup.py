"""Which folders are packages; all else about the distribution stands in setup.cfg."""

from setuptools import find_namespace_packages, find_packages, setup

setup(
    packages=[
        *find_packages(include=["daso", "daso.*"]),
        *find_namespace_packages(include=["hydra_plugins.daso_*"], exclude=["*.__pycache__"]),
        "daso.conf",
    ],
    package_dir={
        "daso.conf": "conf"
    },  # in a checkout it lies beside the package: daso/settings/options.py finds either
)
