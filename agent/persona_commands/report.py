"""What the checks found, for a person to read."""

from collections.abc import Iterable

from agent.voices.checks import Finding

_MARKS = {"good": "ok      ", "warning": "warning ", "refused": "REFUSED "}


def show(findings: Iterable[Finding]) -> None:
    """Prints each in a line."""
    for finding in findings:
        print(f"  {_MARKS[finding.grade]} {finding.sentence}", flush=True)


def summary(findings: Iterable[Finding]) -> str:
    """How it went, in half a sentence."""
    grades = [finding.grade for finding in findings]
    refused, warnings = grades.count("refused"), grades.count("warning")
    if refused:
        return f"{refused} refused, {_count(warnings, 'warning')}"
    return _count(warnings, "warning") if warnings else "all is well"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
