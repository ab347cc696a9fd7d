"""Recipes by name: what --config finds, what it says when it finds nothing, and the peclip recipes command."""

from pathlib import Path

import pytest
import yaml

from peclip import recipes
from peclip.errors import InputError
from peclip.recipes import read_recipes, recipe_path, with_recipes
from tests.runs import run

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["demo", "ferv39k", "ablations/no_tda", "backbones/vit_l14"])
def test_a_name_finds_the_recipe(name):
    assert recipe_path(name).samefile(CONFIGS / f"{name}.yaml")


def test_a_file_of_the_working_folder_wins(room):
    (room / "demo").write_text("name: mine\n")
    assert recipe_path("demo") == Path("demo")
    (room / "ferv39k").mkdir()
    assert recipe_path("ferv39k").samefile(CONFIGS / "ferv39k.yaml")


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("demo_ordr", "demo_order or demo"),
        ("FERV39K", "ferv39k"),
        ("no_tda", "ablations/no_tda"),
        ("configs/dfew.yaml", "dfew"),
    ],
)
def test_an_unknown_name_is_answered_with_similar_ones(name, similar):
    with pytest.raises(InputError) as caught:
        recipe_path(name)
    message = f"--config {name}: no such file and no such recipe; did you mean {similar}? See peclip recipes"
    assert str(caught.value) == message
    result = run("fit", "--config", name)
    assert (result.status, result.out, result.err) == (2, "", f"peclip: error: {message}\n")


@pytest.mark.parametrize("name", ["", "zzzzzz", "../configs/../..", "/etc"])
def test_a_name_like_no_recipe_is_sent_to_the_list(name):
    with pytest.raises(InputError, match="no such file and no such recipe, see peclip recipes"):
        recipe_path(name)


def test_a_recipe_is_found_in_every_way_to_write_the_option():
    demo, no_tda = str(CONFIGS / "demo.yaml"), str(CONFIGS / "ablations/no_tda.yaml")
    assert with_recipes(["--config", "demo", "--config=ablations/no_tda", "-c", "demo", "-cdemo", "-c=demo"]) == [
        "--config", demo, f"--config={no_tda}", "-c", demo, f"-c{demo}", f"-c={demo}"
    ]  # fmt: skip


@pytest.mark.parametrize("args", [["--config"], ["--config", "--data.root", "demo"], ["--config="], ["--name", "demo"]])
def test_what_names_no_configuration_is_kept(args):
    assert with_recipes(args) == args


def test_the_training_commands_take_a_name():
    for command in ("fit", "test"):
        result = run(command, "--config", "demo", "--config", "ablations/no_maple", "--print_config")
        assert (result.status, result.err) == (0, "")
        options = yaml.safe_load(result.out)
        assert options["data"]["benchmark"] == "demo"
        assert options["model"]["net"]["prompts"] is None


# --- peclip recipes ---


def test_every_recipe_is_listed_with_its_aim_and_its_command():
    result = run("recipes")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    names = {path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml")}
    assert names <= set(lines)
    place = lines.index("ferv39k")
    assert "UAR 41.57, WAR 51.26" in lines[place + 1]
    assert lines[place + 2].strip() == "peclip fit --config ferv39k --data.root /data/FERV39K"


@pytest.mark.parametrize("recipe", read_recipes().values(), ids=lambda recipe: recipe.name)
def test_a_recipe_opens_with_its_command_and_its_aim_in_a_sentence(recipe):
    assert recipe.command.startswith(("peclip fit --config ", "peclip cv --config "))
    assert f"--config {recipe.name}" in recipe.command
    assert recipe.aim.endswith(".")


def test_a_recipe_is_printed_as_it_is():
    result = run("recipes", "ablations/no_tda")
    assert (result.status, result.err) == (0, "")
    assert result.out == (CONFIGS / "ablations/no_tda.yaml").read_text()


def test_an_unknown_recipe_is_not_printed():
    result = run("recipes", "ferv39")
    assert (result.status, result.out) == (2, "")
    assert result.err == "peclip: error: no recipe 'ferv39'; did you mean ferv39k? See peclip recipes\n"


def test_in_a_clone_the_recipes_are_those_of_the_top_level():
    assert recipes.FOLDER == CONFIGS
