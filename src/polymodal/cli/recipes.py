"""``polymodal recipes``."""

from typing import Any

from polymodal.cli.parser import Commands, add_command


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    add_command(
        commands,
        "recipes",
        run,
        summary="List the recipes that come with the package.",
        details="A recipe is a YAML file. `polymodal train` takes any of these names, or a file of your own.",
        examples="polymodal recipes",
    )


def run(args: Any) -> None:
    """Prints names and descriptions."""
    from rich.console import Console
    from rich.table import Table

    from polymodal.config import load_recipe, recipe_names

    table = Table("recipe", "description")
    for name in recipe_names():
        table.add_row(name, load_recipe(name).description)
    Console().print(table)
