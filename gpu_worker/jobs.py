"""The one name a ring may carry. The function itself is the process's Hands.draw, put in by the listener.

RQ never imports this module in a worker of ours (see gpu_worker.listener.DrawJob); a stray RQ worker that does finds
a function that refuses, so that a ring it swallowed fails visibly there and is healed by the reconciler.
"""


def draw(generation_id: str) -> None:
    """Refuse to draw outside of `python -m gpu_worker`."""
    raise RuntimeError(f"{generation_id} was rung for in a process without an engine; run python -m gpu_worker")
