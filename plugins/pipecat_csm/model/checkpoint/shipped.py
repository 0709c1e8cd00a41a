"""csm-mini, the small CSM that comes with this package: see README.md in its folder."""

from pathlib import Path

NAME = "csm-mini"
FOLDER = Path(__file__).parents[2] / "mini"


def located(source: str | Path) -> str | Path:
    """The folder of csm-mini where its name was given, else what was given."""
    return FOLDER if source == NAME else source
