"""Build peclip. pyproject.toml has everything but the packages: those of peclip/, and configs/ as peclip.configs."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["peclip*"]), "peclip.configs"])
