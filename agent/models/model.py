"""What a model with a name is: its files with their hashes, and where they come from."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["whisper", "llm", "tts", "speaker"]


@dataclass(frozen=True)
class File:
    """One file of a model. `size` is in bytes, `sha256` in lowercase hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Package:
    """A pinned distribution that ships weights; `part` is set if it holds a piece of a file."""

    distribution: str
    version: str
    part: File | None = None

    @property
    def module(self) -> str:
        """The import package, which is looked up and never imported."""
        return self.distribution.replace("-", "_")

    @property
    def requirement(self) -> str:
        """What pip installs."""
        return f"{self.distribution}=={self.version}"


@dataclass(frozen=True)
class PackageSource:
    """Installed packages that hold a model: one with its files, or several with parts to join."""

    packages: tuple[Package, ...]
    folder: str = ""

    @property
    def split(self) -> bool:
        """Whether the packages' parts must be joined into the model's one file."""
        return self.packages[0].part is not None


@dataclass(frozen=True)
class HubSource:
    """A repository on the Hugging Face hub, at a pinned commit."""

    repo: str
    revision: str


@dataclass(frozen=True)
class Model:
    """A model that has a name."""

    name: str
    kind: Kind
    description: str
    licence: str
    files: tuple[File, ...]
    package: PackageSource | None = None
    hub: HubSource | None = None

    @property
    def size(self) -> int:
        """Bytes, all files together."""
        return sum(file.size for file in self.files)

    @property
    def entry(self) -> str:
        """What its loader wants inside the model's folder: the folder itself, or the one file."""
        return "" if self.kind == "whisper" else self.files[0].name
