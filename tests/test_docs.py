"""What the documentation tells to type works as it stands."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from zoo.cli import main
from zoo.training.recipe import find

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *(f"docs/{name}.md" for name in ("quickstart", "loading", "fine-tuning", "publishing"))]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language; of none for ``` alone."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for marked, code in found if marked == language]


@pytest.mark.filterwarnings("ignore:.*new and untrained:UserWarning")
@pytest.mark.parametrize("page", PAGES)
def test_python_runs_from_top_to_bottom(page: str, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    code = "\n".join(blocks(page, "python"))
    assert code
    exec(compile(code, page, "exec"), {})


def test_the_quickstarts_recipe_is_one(tmp_path: Path) -> None:
    (recipe,) = blocks("docs/quickstart.md", "toml")
    (tmp_path / "my-recipe.toml").write_text(recipe)
    assert find(str(tmp_path / "my-recipe.toml")).model["hidden"] == 16


def test_the_quickstarts_commands_work_behind_its_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks("docs/quickstart.md", "python")), {})
    (block,) = (block for block in blocks("docs/quickstart.md", "") if "zoo predict" in block)
    for line in block.splitlines():
        result = CliRunner().invoke(main, line.split()[1:])
        assert result.exit_code == 0, f"{line}: {result.output}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str) -> None:
    lines = [line for block in blocks(page, "") for line in re.split(r"\n|\s{2,}", block) if line.startswith("zoo ")]
    assert lines
    for line in lines:
        _, name, *words = line.split()
        command = main.commands[name]
        options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, line
        assert isinstance(command, click.Command)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_template_of_a_method_is_a_model_of_the_zoo() -> None:
    code = blocks("docs/adding-a-method.md", "python")
    assert (ROOT / "zoo" / "models" / "mlp.py").read_text(encoding="utf-8") in code


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    linked = set()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#\s]+)#?([^)\s]*)\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                page = (path.parent / target).resolve()
                assert page.exists(), f"{path}: {target}"
                assert not anchor or anchor in anchors(page), f"{path}: {target}#{anchor}"
                linked.add(page)
    for path in (ROOT / "docs").glob("*.md"):
        assert path.resolve() in linked, path
