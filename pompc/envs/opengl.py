"""Keep OpenGL out of processes that render nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def opengl(render: bool) -> Iterator[None]:
    """Set `MUJOCO_GL` for the imports inside the block, and restore it afterwards.

    mujoco and dm_control read it once, when they are imported. Without rendering it is
    `disabled`, whatever the user set: a display that is missing or broken then stops no training.
    With rendering it is the user's, or `egl`, which needs no display. It is restored so that
    child processes choose for themselves.

    Args:
        render: whether the environments imported in the block have to render.
    """
    chosen = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = (chosen or "egl") if render else "disabled"
    try:
        yield
    finally:
        if chosen is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = chosen
