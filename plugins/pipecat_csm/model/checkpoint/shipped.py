"""csm-mini, the small CSM that comes with this package: see README.md in its folder."""

from pathlib import Path

NAME = "csm-mini"
FOLDER = Path(__file__).parents[2] / "mini"
