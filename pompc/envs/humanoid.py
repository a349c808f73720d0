"""HumanoidBench tasks as Gymnasium environments: `h1hand-walk`, or `h1-walk` without hands.

Its package is no dependency: names and sizes of the paper's 14 tasks are known without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from pompc.envs import humanoid_compat as compat
from pompc.envs import physics
from pompc.envs.gym import GymEnv
from pompc.envs.sizes import flat_sizes
from pompc.errors import ConfigError, nearest

ACTION_REPEAT = 1
TERMINATIONS = "ignore"  # as in the published runs of TD-MPC2 and BMPC


class Task(NamedTuple):
    """One of the 14 locomotion tasks of the paper's Figure 2."""

    observations: int  # of the robot h1hand
    target: float  # return at which HumanoidBench calls the task solved


class Robot(NamedTuple):
    """A robot that the table of tasks holds for."""

    actions: int
    fewer: int  # observations than h1hand: position and velocity of each joint it lacks


TASKS = {
    "balance_hard": Task(177, 800.0),
    "balance_simple": Task(164, 800.0),
    "crawl": Task(151, 700.0),
    "hurdle": Task(151, 700.0),
    "maze": Task(151, 1200.0),
    "pole": Task(151, 700.0),
    "reach": Task(157, 12000.0),
    "run": Task(151, 700.0),
    "sit_hard": Task(164, 750.0),
    "sit_simple": Task(151, 750.0),
    "slide": Task(151, 700.0),
    "stair": Task(151, 700.0),
    "stand": Task(151, 800.0),
    "walk": Task(151, 700.0),
}
ROBOTS = {"h1hand": Robot(61, 0), "h1": Robot(19, 100)}


def task_names(robot: str = "h1hand") -> list[str]:
    """Return the names of the paper's 14 tasks with a robot: `h1hand`, or `h1` without hands."""
    return [f"{robot}-{name}" for name in TASKS]


def split(task: str) -> tuple[str, str]:
    """Return robot and task of a name: `h1hand-sit-hard-v0` is `("h1hand", "sit_hard")`."""
    robot, _, name = task.removesuffix("-v0").replace("_", "-").partition("-")
    return robot, name.replace("-", "_")


def in_paper_table(task: str) -> bool:
    """Tell whether a task is one of the 14, with hands or without."""
    robot, name = split(task)
    return robot in ROBOTS and name in TASKS


def check(task: str) -> str:
    """Return the canonical name of a task, spelled as in the published curves: `h1hand-sit_hard`.

    The paper's tasks need no package here; others are known where HumanoidBench is installed.

    Raises:
        ConfigError: for an unknown task.
    """
    name = "-".join(split(task))
    if in_paper_table(name):
        return name
    known = [known for robot in ROBOTS for known in task_names(robot)]
    more = "; HumanoidBench's other tasks are known once it is installed (`make humanoid`)"
    if compat.installed():
        known, more = compat.task_names(), ""
        if name in known:
            return name
    raise ConfigError(
        f"unknown task {task!r}: choose one of HumanoidBench's tasks such as 'h1hand-walk' "
        f"(pompc.envs.humanoid.task_names() lists the paper's){more}{nearest(name, known)}"
    )


def describe(task: str) -> dict[str, str]:
    """Return what the provenance of a run says of HumanoidBench and of its task."""
    facts = {"humanoid-bench": compat.installed_version()}
    robot, _ = split(task)
    if not in_paper_table(task):
        facts["note"] = f"{task} is none of the paper's 14 tasks, which has no numbers for it"
    elif robot != "h1hand":
        facts["note"] = f"{task} is a robot without hands, for which the paper has no numbers"
    return facts


def dimensions(task: str) -> tuple[int, int]:
    """Return the numbers of observations and actions; of the paper's tasks without the package.

    Raises:
        ConfigError: as in `make`, for other tasks.
    """
    if not in_paper_table(task):
        return flat_sizes(make(task, seed=0, render=False))
    robot, name = split(task)
    return TASKS[name].observations - ROBOTS[robot].fewer, ROBOTS[robot].actions


def make(task: str, seed: int, render: bool) -> HumanoidEnv:
    """Make a HumanoidBench task.

    Raises:
        ConfigError: for an unknown task, or in one sentence with the command that installs
            HumanoidBench, or with the versions that were tested.
        RuntimeError: for `render` after MuJoCo was imported without rendering.
    """
    return HumanoidEnv(compat.make(check(task), render), seed, render)


class HumanoidEnv(GymEnv):
    """Run a HumanoidBench task: 1000 steps at 50 Hz, each episode a function of its own seed.

    Attributes:
        frame_size: height and width of rendered frames, in pixels.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int, render: bool) -> None:
        """Wrap an environment of HumanoidBench; `seed` determines all episodes."""
        super().__init__(env, seed)
        self._origin, self._episode = seed, -1  # episodes are numbered from 0
        self._actions: list[np.ndarray] = []  # since the episode began
        self.frame_size: tuple[int, int] = (360, 480)
        self._renderer: Any = None
        self._renders = render
        if render:
            _require_opengl()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode, a function of `seed` if it is given, else of the last seed given."""
        if seed is not None:
            self._origin, self._episode = seed, -1
        self._episode += 1
        sequence = np.random.SeedSequence(self._origin, spawn_key=(self._episode,))
        own, shared = (int(number) for number in sequence.generate_state(2))
        self._actions = []
        with compat.seeded_draws(shared):
            return super().reset(seed=own, options=options)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step with an action `[A]`, clipped to [-1, 1]."""
        self._actions.append(np.array(action, np.float32))
        return super().step(action)

    def save(self) -> dict[str, Any]:
        """Return what `load` needs: the episode's seed, its actions, and the physics now."""
        return {
            "origin": np.int64(self._origin),
            "episode": np.int64(self._episode),
            "actions": np.array(self._actions, np.float32).reshape(-1, self._low.size),
            "physics": self._physics_state(),
        }

    def load(self, state: Mapping[str, Any]) -> np.ndarray:
        """Go on from a state that `save` returned; return the present observation `[O]`.

        The episode is played again, which restores what a task keeps beside the physics: its goal,
        its stage, its clock. On another processor that may round differently; then the stored
        physics (with warm start) is put in place at its end.
        """
        self._origin, self._episode = int(state["origin"]), int(state["episode"]) - 1
        observation, _ = self.reset()
        for action in state["actions"]:
            observation = self.step(action)[0]
        if not np.array_equal(self._physics_state(), state["physics"]):
            model, data, *_ = compat.scene(self.env)
            physics.set_state(model, data, state["physics"])
        return observation

    def _physics_state(self) -> np.ndarray:
        model, data, *_ = compat.scene(self.env)
        return physics.get_state(model, data)

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the current frame, uint8 `[height, width, 3]`, from the task's own camera.

        HumanoidBench's own renderer opens a context at each construction, and complains at exit.

        Raises:
            RuntimeError: if the environment was made without `render=True`.
        """
        if not self._renders:
            raise RuntimeError("render() needs an environment made with render=True")
        model, data, camera, goal = compat.scene(self.env)
        if self._renderer is None:
            self._renderer = physics.import_mujoco().Renderer(model, *self.frame_size)
        self._renderer.update_scene(data, camera)
        if goal is not None:
            _add_sphere(self._renderer.scene, goal)
        return self._renderer.render()

    def close(self) -> None:
        """Free the renderer and the simulator."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        super().close()


def _require_opengl() -> None:
    """Raise if this process imported MuJoCo without an OpenGL back end."""
    from mujoco import gl_context

    if not hasattr(gl_context, "GLContext"):
        raise RuntimeError(
            "MuJoCo was imported without OpenGL in this process: make the rendering environment "
            "before any other, or use pompc.envs.video.record_actions, which renders in a "
            "process of its own"
        )


def _add_sphere(scene: Any, place: np.ndarray) -> None:
    """Show a point `[3]` in a scene as a red sphere of 5 cm."""
    mujoco = physics.import_mujoco()
    sphere = scene.geoms[scene.ngeom]
    radius, upright, red = np.full(3, 0.05), np.eye(3).ravel(), np.array([0.8, 0.28, 0.28, 1.0])
    mujoco.mjv_initGeom(sphere, mujoco.mjtGeom.mjGEOM_SPHERE, radius, place, upright, red)
    scene.ngeom += 1
