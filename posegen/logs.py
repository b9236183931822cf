"""Logs are events with fields, one a line: coloured for a terminal, JSON elsewhere. Never prompts or secrets.

So tracebacks say where it broke, not what the variables held: in a login that is a password.
"""

import logging
import sys
from typing import Literal

import structlog
from structlog.tracebacks import ExceptionDictTransformer

_JSON_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def set_up_logging(log_format: Literal["auto", "json", "console"], *, process: str) -> None:
    """Send structlog's events and the libraries' warnings to stderr, each with the name of the process."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _JSON_TRACEBACKS if as_json else structlog.processors.StackInfoRenderer(),
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
