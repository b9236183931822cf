"""Logs are events with fields, one a line: coloured for a terminal, JSON elsewhere. Never prompts or secrets.

So tracebacks say where it broke, not what the variables held: in a login that is a password. What libraries log goes
the same way, so that every line of a process can be read by a machine.

Every line names its process. Lines about a picture carry `generation_id` and `item_id`, and the `request_id` of the
request that ordered it; lines of a request carry its `request_id`.
"""

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any, Literal

import structlog
from structlog.tracebacks import ExceptionDictTransformer

_JSON_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def set_up_logging(log_format: Literal["auto", "json", "console"], *, process: str) -> None:
    """Send structlog's events and the libraries' warnings to stderr, each with the name of the process."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())

    def name_process(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("process", process)  # no context variable: those end with the thread that bound them
        return event

    filled: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _JSON_TRACEBACKS if as_json else structlog.processors.StackInfoRenderer(),
    ]
    rendered: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*filled, rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *filled],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, rendered],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def about_picture(*, generation_id: str, item_id: str, request_id: str | None) -> AbstractContextManager[object]:
    """Return a block whose lines, in this thread, name the picture they are about."""
    ordered_by = {} if request_id is None else {"request_id": request_id}
    return structlog.contextvars.bound_contextvars(generation_id=generation_id, item_id=item_id, **ordered_by)
