"""Videos: the frames of the episode that the actions bring back, in a format that browsers play."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from pompc.envs.physics import opengl
from pompc.envs.video import record_actions
from pompc.errors import ConfigError

RENDER = (
    "import numpy as np, pompc.envs as envs\n"
    "env = envs.make_env('cartpole-swingup', seed=3, render=True)\n"
    "env.unwrapped.frame_size = (120, 160)\n"
    "env.reset(seed=3)\n"
    "for _ in range(20): env.step(np.full(1, -1.0))\n"
    "np.save('frame.npy', env.render())\n"
)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Return the frame `[120, 160, 3]` after 20 actions of -1, or skip where OpenGL is missing."""
    folder = tmp_path_factory.mktemp("frame")
    process = subprocess.run(
        [sys.executable, "-c", RENDER], cwd=folder, capture_output=True, text=True, check=False
    )
    if process.returncode:
        cause = process.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"no OpenGL here (apt install libegl1 libgl1-mesa-dri): {cause}")
    return np.load(folder / "frame.npy")


def decode(path: Path, width: int, height: int) -> tuple[str, np.ndarray]:
    """Return what ffmpeg says about a video, and its frames `[T, height, width, 3]`."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    options = ["-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    process = subprocess.run([ffmpeg, *options], capture_output=True, check=True)
    frames = np.frombuffer(process.stdout, np.uint8).reshape(-1, height, width, 3)
    description = next(line for line in process.stderr.decode().splitlines() if "Video: " in line)
    return description, frames.astype(np.float64)


def test_a_video_shows_the_episode_of_its_actions(rendered: np.ndarray, tmp_path: Path) -> None:
    path = record_actions(
        "cartpole-swingup", 3, np.full((20, 1), -1.0), tmp_path / "new" / "a.mp4", 160, 120
    )
    description, frames = decode(path, 160, 120)
    # What browsers play, at two control steps of 10 ms a frame.
    for fact in ("h264", "yuv420p", "160x120", " 50 fps"):
        assert fact in description
    assert len(frames) == 21
    error = np.abs(frames - rendered).mean(axis=(1, 2, 3))
    assert error.argmin() == 20  # the last frame, and none before it
    assert error[20] < 3.0  # of 255: what compression leaves
    assert error[0] > 1.5 * error[20]  # the cart has moved


def test_a_video_ends_with_the_episode_and_takes_a_frame_rate(
    rendered: np.ndarray, tmp_path: Path
) -> None:
    assert rendered.dtype == np.uint8
    actions = np.zeros((203, 1))  # Pendulum's episodes have 200 steps
    path = record_actions("gym:Pendulum-v1", 0, actions, tmp_path / "p.mp4", fps=60)
    description, frames = decode(path, 500, 500)
    assert len(frames) == 201
    assert " 60 fps" in description


def test_a_failure_is_one_sentence_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "off")
    path = tmp_path / "a.mp4"
    with pytest.raises(RuntimeError) as caught:
        record_actions("cartpole-swingup", 0, np.zeros((2, 1)), path)
    assert str(caught.value) == (
        "cannot render a video of 'cartpole-swingup' (MUJOCO_GL=off: RuntimeError: dm_control was "
        "imported without OpenGL in this process: make the rendering environment before any "
        "other, or use pompc.envs.video.record_actions, which renders in a process of its own)"
    )
    assert not path.exists()
    with pytest.raises(ConfigError, match="did you mean 'cartpole-swingup'"):
        record_actions("cartpole-swngup", 0, np.zeros((2, 1)), path)


@pytest.mark.parametrize(("chosen", "expected"), [(None, "egl"), ("osmesa", "osmesa")])
def test_rendering_prefers_the_users_back_end(
    chosen: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    if chosen:
        monkeypatch.setenv("MUJOCO_GL", chosen)
    with opengl(render=True):
        assert os.environ["MUJOCO_GL"] == expected
    with opengl(render=False):
        assert os.environ["MUJOCO_GL"] == "disabled"
    assert os.environ.get("MUJOCO_GL") == chosen
