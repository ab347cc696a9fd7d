"""peclip installed from its wheel into an environment of its own, used from an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

from tests.runs import write_data

ROOT = Path(__file__).parent.parent
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "peclip", "configs")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def pip(*args):
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, args)],
        capture_output=True, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site-packages of a new environment with peclip from its wheel, and all else from the running one."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "source").mkdir()
    for name in SOURCES:  # a copy, because a build leaves files beside its sources
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / "source" / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheels", folder / "source")
    (wheel,) = (folder / "wheels").glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    # Borrowed only afterwards: pip must not see the peclip of the running environment.
    pip("--python", folder / "venv/bin/python", "install", "--no-deps", "--no-index", wheel)
    (packages,) = (folder / "venv/lib").glob("*/site-packages")
    (packages / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return packages


@pytest.fixture
def peclip(site, tmp_path):
    """Runs the installed command in an empty folder, and returns what it printed."""

    def start(*args):
        command = [site.parents[2] / "bin/peclip", *map(str, args)]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env=ENVIRONMENT
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return start


@pytest.mark.slow
def test_the_wheel_is_whole(site):
    installed = {path.relative_to(site / "peclip") for path in (site / "peclip").rglob("*") if path.is_file()}
    sources = {path.relative_to(ROOT / "peclip") for path in (ROOT / "peclip").rglob("*") if path.is_file()}
    sources |= {path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {path for path in installed if path.suffix != ".pyc"} == {path for path in sources if path.suffix != ".pyc"}
    assert {Path("py.typed"), Path("configs/ferv39k.yaml"), Path("demo/clip/model.safetensors")} <= installed
    assert not (site / "tests").exists()
    assert not (site / "configs").exists()


def test_it_lists_its_recipes_and_prints_one(peclip, site):
    assert "peclip fit --config ferv39k --data.root /data/FERV39K" in peclip("recipes")
    assert peclip("recipes", "demo") == (site / "peclip/configs/demo.yaml").read_text()


@pytest.mark.slow
def test_it_reads_a_recipe_by_name_and_trains_by_it(peclip, tmp_path):
    manifest = write_data(tmp_path / "clips", {"train": 2, "test": 1})
    peclip("fit", "--config", "demo", "--data.manifest", manifest, "--trainer.max_steps", 2, "--trainer.accelerator",
           "cpu", "--data.num_workers", 0)  # fmt: skip
    assert (tmp_path / "runs/demo/version_0/metrics.json").is_file()
    config = yaml.safe_load((tmp_path / "runs/demo/version_0/config.yaml").read_text())
    assert (config["name"], config["data"]["manifest"]) == ("demo", str(manifest))


@pytest.mark.stress
def test_it_trains_the_demo_from_an_empty_folder(peclip, tmp_path):
    peclip("fit", "--config", "demo", "--trainer.max_steps", 2, "--trainer.limit_test_batches", 2)
    assert (tmp_path / "data/demo/demo/manifest.csv").is_file()
    assert (tmp_path / "runs/demo/version_0/metrics.json").is_file()
