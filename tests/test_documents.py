"""The documents: their links exist, the citation is complete, and the changelog knows the version; see test_printed.py, too."""

import re
from pathlib import Path

import pytest
import yaml

import peclip
from peclip.recipes import read_recipes

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_lead_to_files_and_headings(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if link.startswith("https://"):
            continue
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}, link


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=lambda path: path.name
)
def test_files_of_the_repository_that_a_page_names_exist(path):
    text = path.read_text()
    named = set(re.findall(r"\b(?:tests|peclip|benchmarks|tools|examples|cluster|notebooks)/[\w/]*\w\.\w+\b", text))
    named |= {f"{module.replace('.', '/')}.py" for module in re.findall(r"python -m (tests\.[\w.]*\w)", text)}
    missing = {name for name in named if "NAME" not in name and not (ROOT / name).exists()}
    assert not missing, f"{path.name} names files that do not exist: {', '.join(sorted(missing))}"


def test_every_recipe_of_a_benchmark_is_in_the_documents():
    text = (ROOT / "docs/data.md").read_text()
    of_benchmarks = [recipe.name for recipe in read_recipes().values() if "--data.root" in recipe.command]
    assert all(f"`{name}`" in text for name in of_benchmarks if "/" not in name and name != "as_released")


def test_every_page_is_in_the_index():
    linked = set(re.findall(r"\]\((\w+\.md)\)", (ROOT / "docs/index.md").read_text()))
    assert linked == {path.name for path in ROOT.glob("docs/*.md")} - {"index.md"}


def test_the_accuracies_of_the_demo_are_the_same_in_the_readme_and_in_the_recipes():
    readme = (ROOT / "README.md").read_text()
    rows = dict(
        re.findall(r"^\| (nothing|TDA|ShA|text adapter|prompts|everything.*?) \| ([\d.]+) %", readme, re.MULTILINE)
    )
    ablations = {"TDA": "tda", "ShA": "sha", "text adapter": "ta", "prompts": "maple"}
    said = {row: (ROOT / f"configs/ablations/no_{name}.yaml").read_text() for row, name in ablations.items()}
    assert {row: re.findall(r"WAR ([\d.]+) over", text) for row, text in said.items()} == {
        row: [rows[row]] for row in ablations
    }
    demo = (ROOT / "configs/demo.yaml").read_text()
    assert re.findall(r"(?:WAR|zero-shot CLIP) ([\d.]+)", demo) == [
        rows["nothing"],
        rows["everything (zero-shot CLIP)"],
    ]


def test_the_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Saadi", "Hadid", "Cunningham", "Taleb-Ahmed", "El Hillali"
    ]  # fmt: skip
    assert "2503.16945" in paper["url"]


def test_the_changelog_knows_the_version():
    assert f"## [{peclip.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
