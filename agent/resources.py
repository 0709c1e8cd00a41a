"""Where the data that ships with csm-agent lies, in a clone and in an installed wheel alike."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def configs_dir() -> Path:
    """The folder of profiles and personas: `configs/` of the clone, or its copy in the wheel."""
    in_clone = _PACKAGE.parent / "configs"
    return in_clone if (in_clone / "personas").is_dir() else _PACKAGE / "configs"


def page_dir() -> Path:
    """The built browser page, ready to be served as static files."""
    return _PACKAGE / "web" / "dist"
