"""What pyproject.toml cannot say: a wheel brings the zoo's configs, inside of the package.

In a checkout, and in an installation with ``-e``, they stay where they are (`echozoo.zoo`).
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies ``configs/`` into the package that is built."""

    def run(self):
        """Build the package, then add the configs."""
        super().run()
        if not self.editable_mode:
            inside = Path(self.build_lib, "echozoo", "configs")
            shutil.rmtree(inside, ignore_errors=True)  # of an earlier build
            left_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(Path(__file__).parent / "configs", inside, ignore=left_out)


setup(cmdclass={"build_py": BuildWithConfigs})
