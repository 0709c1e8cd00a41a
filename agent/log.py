"""The log: one line an event, without the callers' words unless asked for."""

import logging
import sys

from loguru import logger

_FORMAT = "<dim>{time:HH:mm:ss}</dim> <level>{level:7}</level> {message}"


def set_up_logging(*, verbose: bool) -> None:
    """Sends the log to standard error.

    Pipecat's debug lines hold what callers and agent say, so they are shown only if `verbose`.
    """
    logger.remove()
    if verbose:
        logger.add(sys.stderr, level="DEBUG")
        return
    logger.add(sys.stderr, level="INFO", format=_FORMAT, filter=_is_worth_a_line)
    # The WebRTC libraries log to the standard module, a line for every candidate.
    logging.getLogger("aioice").setLevel(logging.WARNING)
    logging.getLogger("aiortc").setLevel(logging.ERROR)


def _is_worth_a_line(record) -> bool:
    name = record["name"] or ""
    return not name.startswith("pipecat.") or record["level"].no >= logging.WARNING


def quieten() -> None:
    """Leaves only what goes wrong: for commands whose output is for a person."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING", format=_FORMAT)
