"""One environment that is rebuilt where it fails, and whose state can be stored."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from pompc.errors import ConfigError

State = Mapping[str, Any]  # arrays by name
PATIENCE = 3  # failures without a whole episode between them that end a run


class Step(NamedTuple):
    """What one step returns; see `Observations`."""

    observation: np.ndarray
    final_observation: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    env_steps: int
    failure: str


class RestartingEnv:
    """Run episodes of a task one after the other, whatever its environment does.

    Where it raises, or returns NaN or infinity, it is made anew, with another seed and episode.
    """

    def __init__(self, task: str, seed: int) -> None:
        """Make the environment; the first one may raise."""
        self.task, self._seed = task, seed
        self._rebuilt = 0  # in all
        self._failures = 0  # since an episode ended as it should
        self.environment = self._make()

    def _make(self) -> gymnasium.Env[np.ndarray, np.ndarray]:
        from pompc.envs import make_env

        return make_env(self.task, fresh_seed(self._seed, self._rebuilt))

    def reset(self) -> np.ndarray:
        """Start an episode; return its first observation `[O]`."""
        while True:
            try:
                observation, _ = self.environment.reset()
                _require_finite("observation", observation)
                return observation
            except ConfigError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a user's environment raises
                self._rebuild(error)

    def step(self, action: np.ndarray) -> Step:
        """Take one step with an action `[A]`, and start anew where the episode ended or failed.

        Raise ConfigError if the environment is not what it declares, RuntimeError at the third
        failure without a whole episode between them.
        """
        try:
            final, reward, terminated, truncated, info = self.environment.step(action)
            _require_finite("observation", final)
            _require_finite("reward", reward)
        except ConfigError:  # its author's to mend, whatever the seed
            raise
        except Exception as error:  # noqa: BLE001 - whatever a user's environment raises
            failure = self._rebuild(error)
            first = self.reset()
            return Step(first, first, 0.0, False, False, 0, failure)
        first = final
        if terminated or truncated:
            self._failures = 0
            first = self.reset()
        return Step(first, final, float(reward), terminated, truncated, info["env_steps"], "")

    def save(self) -> State:
        """Return what `load` needs to go on from here."""
        own = {"rebuilt": np.int64(self._rebuilt), "failures": np.int64(self._failures)}
        save = getattr(self.environment, "save", dict)
        return own | save()

    def load(self, state: State) -> np.ndarray:
        """Go on where `save` was called; return the present observation `[O]`.

        An environment that cannot store its state (`restores` is False) starts a new episode.
        """
        self._rebuilt, self._failures = int(state["rebuilt"]), int(state["failures"])
        if self.restores:
            return self.environment.load(state)  # pyright: ignore[reportAttributeAccessIssue]
        self._rebuilt += 1  # not the first episode again
        self._replace()
        return self.reset()

    @property
    def restores(self) -> bool:
        """Whether the environment can store its state."""
        return hasattr(self.environment, "load")

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()

    def _rebuild(self, error: Exception) -> str:
        """Make the environment anew after an error; return that in words."""
        self._rebuilt += 1
        self._failures += 1
        cause = f"{type(error).__name__}: {error}"
        if self._failures >= PATIENCE:
            raise RuntimeError(
                f"the environment of {self.task!r} with seed {self._seed} failed {PATIENCE} times "
                f"without a whole episode between: {cause}"
            ) from error
        self._replace()
        return cause

    def _replace(self) -> None:
        with suppress(Exception):
            self.environment.close()
        self.environment = self._make()


def _require_finite(name: str, values: Any) -> None:
    if not np.isfinite(values).all():
        raise FloatingPointError(f"it returned a {name} that is NaN or infinite")


def fresh_seed(seed: int, rebuilt: int) -> int:
    """Return the seed of an environment that was made anew so many times: at first its own."""
    return int(np.random.SeedSequence((seed, rebuilt)).generate_state(1)[0]) if rebuilt else seed
