"""One line of JSON for each log record. Never the content of an item."""

import json
import logging
import sys
from typing import Any, Final, TextIO

LOGGER: Final = "sluice.producer"


def log_to(level: str, output: TextIO | None = None) -> logging.Logger:
    """The producer's logger, writing to `output` (standard output, which CloudWatch keeps)."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    logger.propagate = False  # Lambda's own handler on the root would print each line twice
    writer = logging.StreamHandler(output or sys.stdout)
    writer.setFormatter(_OneLine())
    logger.handlers[:] = [writer]
    measured(logger).setLevel(logging.INFO)
    return logger


def measured(logger: logging.Logger) -> logging.Logger:
    """The logger of lines that carry metrics: written like the others, at any level."""
    return logger.getChild("metrics")


def fields(**values: object) -> dict[str, Any]:
    """`extra` for a logging call: fields of the line."""
    return {"fields": values}


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"level": record.levelname, "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = getattr(record.exc_info[0], "__name__", "")
        return json.dumps(line, separators=(",", ":"), default=str)
