"""``polymodal recipes``."""

from typing import Any

from polymodal.cli.output import console
from polymodal.cli.parser import Commands, add_command


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    add_command(
        commands,
        "recipes",
        run,
        summary="List the recipes that come with the package.",
        details="A recipe is a YAML file. `polymodal train` accepts any of these names, or a file of yours.",
        examples="polymodal recipes",
    )


def run(args: Any) -> None:
    """Prints names, descriptions, and what each reached."""
    from rich.table import Table

    from polymodal.config import load_recipe, recipe_names, recipe_notes

    table = Table("recipe", "what it does", "minutes and scores", show_lines=True)
    for name in recipe_names():
        command, *reached = recipe_notes(name)
        table.add_row(f"[bold]{name}[/]", f"{load_recipe(name).description}\n[dim]{command}[/]", " ".join(reached))
    console().print(table)
