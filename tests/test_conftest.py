"""The way in which the tests themselves are run: those of a file in one process, which makes what they share once."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

from tests.conftest import pytest_warning_recorded

ROOT = Path(__file__).parents[1]

TESTS = """
import os
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(9))
def test_it(number):
    with Path(__file__).with_suffix(".pids").open("a") as file:
        print(os.getpid(), file=file)
"""


def test_the_tests_of_a_file_run_in_one_process_and_files_in_several(tmp_path: Path):
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_xdist_make_scheduler\n")
    files = [tmp_path / f"test_{number}.py" for number in range(4)]
    for file in files:
        file.write_text(TESTS)
    # With a folder for temporary files of its own: in the usual one, pytest would first remove those of earlier runs.
    options = ["-n", "2", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "--basetemp", str(tmp_path / "temporary")]
    command = [sys.executable, "-m", "pytest", *options]
    subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.PIPE
    )
    ran = [file.with_suffix(".pids").read_text().split() for file in files]
    assert [len(pids) for pids in ran] == [9] * 4
    assert [len({*pids}) for pids in ran] == [1] * 4
    assert len({pid for pids in ran for pid in pids}) == 2


class OfAPackage(FutureWarning):
    """A warning whose class only its package knows."""


def test_a_warning_of_a_package_is_reported_without_its_package():
    with warnings.catch_warnings(record=True, action="always") as caught:
        warnings.warn("soon", OfAPackage, stacklevel=1)
        warnings.warn("now", UserWarning, stacklevel=1)
    for each in caught:
        pytest_warning_recorded(each)
    assert [(each.category, str(each.message)) for each in caught] == [
        (FutureWarning, "OfAPackage: soon"), (UserWarning, "now")
    ]  # fmt: skip
    assert [type(each.message) for each in caught] == [FutureWarning, UserWarning]


def test_the_process_that_hands_out_the_tests_does_not_import_torch():
    """It would take seconds before the first worker starts."""
    check = "import sys, tests.conftest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0
