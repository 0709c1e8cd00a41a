"""What is measured, in the order of importance: what comes last is left out first."""

import json
from dataclasses import asdict, dataclass

from scripts.csm_bench.report import Row
from scripts.csm_bench.settings import Settings

TRANSFORMERS = "transformers"
# Where the row stands that says that a measurement failed.
_SECTIONS = {
    "floor": "frame",
    "start": "start",
    "second start": "start",
    "frames": "frame",
    "first audio": "first audio",
    "work": "work",
    "rebuild": "rebuild",
    "memory": "memory",
    "sessions": "sustained",
    TRANSFORMERS: "frame",
}


@dataclass(frozen=True)
class Job:
    """Measurements that one process makes, on one model.

    Attributes:
        variant: The form of our step, or of transformers' generate.
        measures: Their names, in this order.
    """

    variant: str
    measures: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Job":
        """The opposite of `dump`."""
        data = json.loads(text)
        return cls(data["variant"], tuple(data["measures"]))

    def dump(self) -> str:
        """For the command line of a process."""
        return json.dumps(asdict(self))

    def label(self, measure: str) -> str:
        """One of its measurements, for people."""
        return f"{measure}, {self.variant}"

    def failure(self, measure: str, reason: str) -> Row:
        """What stands in the table where a measurement failed."""
        ours = measure != TRANSFORMERS
        what = self.variant if ours else f"{TRANSFORMERS}, {self.variant}"
        return Row(_SECTIONS[measure], what, note=f"failed: {reason}")


def plan(settings: Settings, *, reference: bool) -> list[Job]:
    """All jobs of a run.

    Args:
        settings: Of the run.
        reference: Whether transformers is measured.
    """
    first, *others = settings.variants
    whole = ("floor", "start", "frames", "first audio", "work", "rebuild", "memory")
    jobs = [Job(first, whole)]
    if reference:
        jobs.append(Job("eager", (TRANSFORMERS,)))
    jobs.append(Job(first, ("floor", "sessions")))
    if reference:
        jobs.append(Job("static", (TRANSFORMERS,)))
    jobs += [Job(variant, ("start", "frames", "work", "memory")) for variant in others]
    if first != "none":
        jobs.append(Job(first, ("second start",)))
    return jobs
