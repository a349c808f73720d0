"""Videos of episodes, rendered by a process of its own so that training never opens OpenGL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import imageio.v2
import numpy as np

from pompc.envs import check_task, make_env
from pompc.envs.dmc import DmControlEnv
from pompc.envs.humanoid import HumanoidEnv
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

    The simulation is deterministic, so the actions alone bring the episode back; the video ends
    where the episode or the actions do. `MUJOCO_GL` chooses the OpenGL back end; without it EGL
    is tried, then OSMesa.

    Args:
        task: the name of the task.
        seed: the seed of the episode.
        actions: `[T, A]` in [-1, 1].
        path: the file to write; its folder is made.
        width: width of a frame in pixels; environments of Gymnasium have their own.
        height: height of a frame in pixels, likewise.
        fps: frames per second; by default the speed of the simulated time.

    Returns:
        The path of the video.

    Raises:
        ConfigError: for an unknown task.
        VideoError: in one sentence with the cause, if the episode cannot be rendered.
    """
    task = check_task(task)
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder, "request.npz")
        np.savez(
            request,
            task=task,
            seed=seed,
            actions=np.asarray(actions, np.float32),
            frame_size=(height, width),
            fps=fps or 0.0,
        )
        video = Path(folder, "video.mp4")
        _render_with_any_backend(task, request, video)
        shutil.move(video, path)
    return path


def _render_with_any_backend(task: str, request: Path, video: Path) -> None:
    """Run the rendering process with one back end after another until one succeeds."""
    chosen = os.environ.get("MUJOCO_GL")
    causes = []
    for backend in [chosen] if chosen else _BACKENDS:
        process = subprocess.run(
            module_command("pompc.envs.video", str(request), str(video)),
            env=module_environment(MUJOCO_GL=backend, PYGAME_HIDE_SUPPORT_PROMPT="1"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode == 0:
            return
        cause = process.stderr.strip().rpartition("\n")[2]
        causes.append(f"MUJOCO_GL={backend}: {cause or f'exit code {process.returncode}'}")
    raise VideoError(f"cannot render a video of {task!r} ({'; '.join(causes)})")


def _render(request: Path, video: Path) -> None:
    """Render a stored request to a video: the work of the child process."""
    with np.load(request) as stored:
        values = {name: stored[name] for name in stored.files}
    seed = int(values["seed"])
    environment = make_env(str(values["task"]), seed, render=True)
    if isinstance(environment, DmControlEnv | HumanoidEnv):
        height, width = values["frame_size"]
        environment.frame_size = (int(height), int(width))
    fps = float(values["fps"]) or environment.metadata.get("render_fps", 30)
    # H.264 with 4:2:0 chroma is what every browser plays; its frames have even sides.
    writer: Any = imageio.v2.get_writer(
        video, fps=fps, codec="libx264", pixelformat="yuv420p", macro_block_size=2
    )
    with writer:
        for frame in _frames(environment, seed, values["actions"]):
            writer.append_data(frame)
    environment.close()


def _frames(
    environment: gymnasium.Env[np.ndarray, np.ndarray], seed: int, actions: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the frame of the first state and the one after each action, up to the episode's end."""
    environment.reset(seed=seed)
    yield np.asarray(environment.render())
    for action in actions:
        _, _, terminated, truncated, _ = environment.step(action)
        yield np.asarray(environment.render())
        if terminated or truncated:
            return


def _main() -> None:
    """Render the request of the command line; end with the cause as the last line if it fails."""
    try:
        _render(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - whatever OpenGL or a user's code raises
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))


if __name__ == "__main__":
    _main()
