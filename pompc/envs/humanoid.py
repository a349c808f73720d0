"""HumanoidBench tasks as Gymnasium environments: `h1hand-walk`, or `h1-walk` without hands.

Its package is no dependency: names and sizes of the paper's 14 tasks are known without it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from pompc.envs import humanoid_compat as compat
from pompc.envs.gym import GymEnv
from pompc.envs.physics import MujocoEnv, import_mujoco, require_opengl
from pompc.errors import ConfigError, nearest

ACTION_REPEAT = 1
TERMINATIONS = "ignore"  # as in the published runs of TD-MPC2 and BMPC


class Task(NamedTuple):
    """One of the 14 locomotion tasks of the paper's Figure 2."""

    observations: int  # of the robot h1hand
    target: float  # return at which HumanoidBench calls the task solved


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
# Robot -> its actions, and how many fewer observations it has than h1hand: position and velocity of
# each joint that it lacks.
ROBOTS = {"h1hand": (61, 0), "h1": (19, 100)}


def task_names(robot: str = "h1hand") -> list[str]:
    """Return the names of the paper's 14 tasks with a robot: `h1hand`, or `h1` without hands."""
    return [f"{robot}-{name}" for name in TASKS]


def split(task: str) -> tuple[str, str]:
    """Return robot and task of a name: `h1hand-sit-hard-v0` is `("h1hand", "sit_hard")`."""
    robot, _, name = task.removesuffix("-v0").replace("_", "-").partition("-")
    return robot, name.replace("-", "_")


def in_paper_table(task: str) -> bool:
    """Return whether a task is one of the 14, with hands or without."""
    robot, name = split(task)
    return robot in ROBOTS and name in TASKS


def check(task: str) -> str:
    """Return the canonical name of a task, spelled as in the published curves: `h1hand-sit_hard`.

    The paper's tasks need no package here; others are known where HumanoidBench is installed. An
    unknown one raises ConfigError.
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
    """Return the numbers of observations and actions of one of the paper's tasks."""
    robot, name = split(task)
    actions, fewer = ROBOTS[robot]
    return TASKS[name].observations - fewer, actions


def make(task: str, seed: int, render: bool) -> "HumanoidEnv":
    """Make a HumanoidBench task.

    Errors are those of `pompc.envs.make_env`. Where HumanoidBench is not installed, the ConfigError
    names the command that installs it; where it does not fit, the versions that were tested.
    """
    return HumanoidEnv(compat.make(check(task), render), seed, render)


class HumanoidEnv(MujocoEnv, GymEnv):
    """Run a HumanoidBench task: 1000 steps at 50 Hz, each episode a function of its own seed."""

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int, render: bool) -> None:
        """Wrap an environment of HumanoidBench; `seed` determines all episodes."""
        super().__init__(env, seed)
        self._origin, self._episode = seed, -1  # episodes are numbered from 0
        self._renderer: Any = None
        self._renders = render
        if render:
            from mujoco import gl_context

            require_opengl("MuJoCo", hasattr(gl_context, "GLContext"))

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

    def _beginning(self) -> dict[str, Any]:
        return {"origin": np.int64(self._origin), "episode": np.int64(self._episode)}

    def _begin(self, state: Mapping[str, Any]) -> None:
        self._origin, self._episode = int(state["origin"]), int(state["episode"]) - 1

    def _mujoco(self) -> tuple[Any, Any]:
        model, data, *_ = compat.scene(self.env)
        return model, data

    def _frame(self) -> np.ndarray:
        """Draw the task's own camera; HumanoidBench's renderer opens a context each time."""
        mujoco, (model, data, camera, goal) = import_mujoco(), compat.scene(self.env)
        if self._renderer is None:
            self._renderer = mujoco.Renderer(model, *self.frame_size)
        self._renderer.update_scene(data, camera)
        if goal is not None:  # as a red sphere of 5 cm
            scene = self._renderer.scene
            mujoco.mjv_initGeom(
                scene.geoms[scene.ngeom], mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, 0.05), goal,
                np.eye(3).ravel(), np.array([0.8, 0.28, 0.28, 1.0]),
            )  # fmt: skip
            scene.ngeom += 1
        return self._renderer.render()

    def close(self) -> None:
        """Free the renderer and the simulator."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        super().close()
