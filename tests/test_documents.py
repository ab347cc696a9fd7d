"""The documents: their commands and links exist, the citation is complete, and the changelog knows the version."""

import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import yaml

import peclip
from peclip import cli
from peclip.recipes import read_recipes, recipe_path
from tests.processes import called

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def commands_in(text):
    """The peclip commands in the code blocks of a document, as lists of words."""
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "peclip" in words:
                yield words[words.index("peclip") + 1 :]


def test_the_documents_are_found():
    assert {"README.md", "CONTRIBUTING.md", "docs/data.md", "docs/training.md"} <= set(NAMES)
    assert sum(len(list(commands_in(path.read_text()))) for path in DOCUMENTS) > 20


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_commands_and_recipes_exist(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in commands_in(path.read_text()):
        assert words[0] in cli.COMMANDS or " ".join(words[:2]) in cli.COMMANDS, words
        for place, word in enumerate(words):
            if word == "--config" and "/config.yaml" not in words[place + 1]:
                recipe_path(words[place + 1])


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


def test_the_python_of_the_documents_runs(tmp_path):
    section = (ROOT / "docs/python.md").read_text().partition("## The model")[2].partition("## Trained models")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL))
    code += "\nprint(tuple(logits.shape), tuple(zero_shot.shape), len(list(net.prompts.tokens)))"
    result = called(tmp_path, partial(exec, code, {}))
    assert (result.status, result.out) == (0, "(1, 3) (1, 3) 2\n"), result.err


def test_every_recipe_of_a_benchmark_is_in_the_documents():
    text = (ROOT / "docs/data.md").read_text()
    of_benchmarks = [recipe.name for recipe in read_recipes().values() if "--data.root" in recipe.command]
    assert all(f"`{name}`" in text for name in of_benchmarks if "/" not in name and name != "as_released")


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
