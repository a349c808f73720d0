"""Videos of episodes, rendered by a process of its own so that training never opens OpenGL."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import imageio.v2
import numpy as np

from pompc.envs import check_task, make_env
from pompc.envs.physics import MujocoEnv
from pompc.envs.process import module_command, module_environment
from pompc.errors import VideoError

# Mesa's or the vendor's EGL needs no display; OSMesa is the fallback without any EGL driver.
_BACKENDS = ("egl", "osmesa")


def record_actions(
    task: str,
    seed: int,
    actions: np.ndarray,
    path: str | os.PathLike[str],
    width: int = 480,
    height: int = 360,
    fps: float | None = None,
) -> Path:
    """Render the episode that actions produce after `reset(seed=seed)`, as an mp4 for browsers.

    The simulation is deterministic, so the actions `[T, A]` in [-1, 1] alone bring the episode
    back; the video ends where the episode or the actions do. `MUJOCO_GL` chooses the OpenGL back
    end; without it EGL is tried, then OSMesa.

    `path` is the file to write, and returned; its folder is made. Width and height are those of a
    frame in pixels; environments of Gymnasium have their own. `fps` are frames per second, by
    default the speed of the simulated time. Raise ConfigError for an unknown task, VideoError with
    the cause if the episode cannot be rendered.
    """
    task = check_task(task)
    values = np.asarray(actions, np.float32).tolist()
    facts = {"task": task, "seed": seed, "frame_size": (height, width), "fps": fps}
    request = json.dumps(facts | {"actions": values}, default=np.generic.item)
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder, "video.mp4")
        _render_with_any_backend(task, request, video)
        shutil.move(video, path)
    return path


def _render_with_any_backend(task: str, request: str, video: Path) -> None:
    """Run the rendering process with one back end after another until one succeeds."""
    chosen = os.environ.get("MUJOCO_GL")
    causes = []
    for backend in [chosen] if chosen else _BACKENDS:
        process = subprocess.run(
            module_command("pompc.envs.video", str(video)),
            env=module_environment(MUJOCO_GL=backend, PYGAME_HIDE_SUPPORT_PROMPT="1"),
            input=request, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if process.returncode == 0:
            return
        cause = process.stderr.strip().rpartition("\n")[2]
        causes.append(f"MUJOCO_GL={backend}: {cause or f'exit code {process.returncode}'}")
    raise VideoError(f"cannot render a video of {task!r} ({'; '.join(causes)})")


def _render(
    video: str, task: str, seed: int, actions: Any, frame_size: tuple[int, int], fps: float | None
) -> None:
    """Render a request: a frame of the first state and one after each action of its episode."""
    environment = make_env(task, seed, render=True)
    if isinstance(environment, MujocoEnv):
        environment.frame_size = frame_size
    fps = fps or environment.metadata.get("render_fps", 30)
    # H.264 with 4:2:0 chroma is what every browser plays; its frames have even sides.
    writer: Any = imageio.v2.get_writer(
        video, fps=fps, codec="libx264", pixelformat="yuv420p", macro_block_size=2
    )
    with closing(environment), writer:
        environment.reset(seed=seed)
        writer.append_data(np.asarray(environment.render()))
        for action in np.asarray(actions, np.float32):
            _, _, terminated, truncated, _ = environment.step(action)
            writer.append_data(np.asarray(environment.render()))
            if terminated or truncated:
                break


def _main() -> None:
    """Render the request on standard input; end with the cause as the last line if it fails."""
    try:
        _render(sys.argv[1], **json.load(sys.stdin))
    except Exception as error:  # noqa: BLE001 - whatever OpenGL or a user's code raises
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))


if __name__ == "__main__":
    _main()
