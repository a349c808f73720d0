"""Evaluation of trained agents: episodes without exploration, single actions, videos."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from gymnasium.spaces import flatdim
from jax import Array

from pompc import checkpoint, envs, runtime, video
from pompc.agent import AgentState
from pompc.config import Config
from pompc.envs.vector import Vector, make_vector
from pompc.population import Programs, initial_arguments, make_programs
from pompc.runs import read_config
from pompc.world_model import WorldModel

_TRAINING, _EVALUATION, _VIDEO = range(3)  # streams of a run's seed


@jax.jit
def _fold_in(keys: Array, decision: int) -> Array:
    """Return the keys `[P, N]` of one decision of evaluation."""
    return jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, decision)))(keys)


def training_seed(config: Config) -> int:
    """Return the seed of the environment that an agent trains in."""
    return _seeds(config, _TRAINING, 1)[0]


def _seeds(config: Config, stream: int, count: int) -> list[int]:
    sequence = np.random.SeedSequence(config.seed, spawn_key=(stream,))
    return [int(seed) for seed in sequence.generate_state(count)]


class Returns:
    """Evaluates a population in environments of its own, `N` episodes an agent."""

    def __init__(self, programs: Programs, agents: tuple[Config, ...], episodes: int) -> None:
        """Keep what every evaluation needs; environments are made anew for each."""
        self._programs, self._agents, self._episodes = programs, agents, episodes
        self._seeds = [_seeds(config, _EVALUATION, episodes) for config in agents]

    def planner(self, states: AgentState) -> np.ndarray:
        """Return the returns `[P, N]` of the planner without exploration noise."""
        config = self._agents[0]
        action_dim = states.plan_mean.shape[-1]
        shape = len(self._agents), self._episodes
        keys = jax.vmap(lambda key: jax.random.split(key, self._episodes))(
            initial_arguments(self._agents)[0]
        )
        means = jnp.zeros((*shape, config.horizon, action_dim))
        decision = 0

        def act(observations: Array) -> Array:
            nonlocal means, decision
            decision += 1
            actions, means = self._programs.evaluation_actions(
                states, _fold_in(keys, decision), observations, means
            )
            return actions

        return self._episodes_of(act)

    def policy(self, states: AgentState) -> np.ndarray:
        """Return the returns `[P, N]` of π_s alone, its mean action, without the planner."""
        return self._episodes_of(lambda seen: self._programs.policy_actions(states, seen))

    def _episodes_of(self, act) -> np.ndarray:
        task, shape = self._agents[0].task, (len(self._agents), self._episodes)
        with make_vector(task, [seed for row in self._seeds for seed in row]) as vector:
            return _first_episodes(vector, act, shape)


def _first_episodes(vector: Vector, act, shape: tuple[int, int]) -> np.ndarray:
    """Run every environment to the end of its first episode; return the returns `[P, N]`."""
    observation = vector.reset()
    totals, running = np.zeros(vector.count), np.ones(vector.count, bool)
    while running.any():
        actions = np.asarray(act(observation.reshape(*shape, -1)))
        result = vector.step(actions.reshape(vector.count, -1))
        totals += np.where(running, result.reward, 0.0)
        running &= ~(result.terminated | result.truncated)
        observation = result.observation
    return totals.reshape(shape)


class Agent:
    """A trained agent that acts on single observations, planning anew at each."""

    def __init__(self, config: Config, world: WorldModel, states: AgentState) -> None:
        """Use `load_agent` instead."""
        self.config, self._states = config, states
        self._programs = make_programs(world, (config,))
        self._world = world
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Start an episode: forget the previous plan; `seed` draws the elites."""
        shape = (1, 1, self.config.horizon, self._world.action_dim)
        self._mean, self._key = jnp.zeros(shape), jax.random.PRNGKey(seed)

    def act(self, observation: np.ndarray, planner: bool = True) -> np.ndarray:
        """Return the action `[A]` in [-1, 1] at an observation `[O]`.

        Args:
            observation: float, `[O]`, as `pompc.make_env` returns it.
            planner: False asks the sampling policy π_s alone.

        Raises:
            ValueError: if the observation has another shape.
        """
        seen = np.asarray(observation, np.float32)
        if seen.shape != (self._world.observation_dim,):
            expected = (self._world.observation_dim,)
            raise ValueError(f"the observation has shape {seen.shape}, not {expected}")
        if not planner:
            return np.asarray(self._programs.policy_actions(self._states, seen[None, None])[0, 0])
        self._key, key = jax.random.split(self._key)
        action, self._mean = self._programs.evaluation_actions(
            self._states, key[None, None], seen[None, None], self._mean
        )
        return np.asarray(action[0, 0])


def load_agent(run_dir: str | Path) -> Agent:
    """Load the newest checkpoint of a run.

    Raises:
        ConfigError: if the folder holds no run.
        FileNotFoundError: if the run has no checkpoint yet.
    """
    config, world, states = _restore(Path(run_dir))
    return Agent(config, world, states)


def _restore(run_dir: Path) -> tuple[Config, WorldModel, AgentState]:
    config = read_config(run_dir)
    runtime.configure(config.matmul_precision)
    steps = checkpoint.saved_steps(run_dir)
    if not steps:
        raise FileNotFoundError(f"the run in {str(run_dir)!r} has no checkpoint")
    world = make_world(config)
    like = jax.eval_shape(make_programs(world, (config,)).init, *initial_arguments((config,)))
    return config, world, checkpoint.restore(run_dir, steps[-1], like)


def make_world(config: Config) -> WorldModel:
    """Return the networks for a configuration, sized by its environment."""
    env = envs.make_env(config.task)
    env.close()
    return WorldModel(config, flatdim(env.observation_space), flatdim(env.action_space))


def evaluate(run_dir: str | Path, episodes: int = 10) -> pd.DataFrame:
    """Evaluate the newest checkpoint of a run anew.

    Returns:
        One row an episode: `episode, return, return_policy`.
    """
    config, world, states = _restore(Path(run_dir))
    returns = Returns(make_programs(world, (config,)), (config,), episodes)
    return pd.DataFrame({
        "episode": range(episodes),
        "return": returns.planner(states)[0],
        "return_policy": returns.policy(states)[0],
    })  # fmt: skip


def record_video(run_dir: str | Path, path: str | Path | None = None) -> Path:
    """Record one episode of a run's newest agent as an mp4, by default `run_dir/video.mp4`.

    Raises:
        RuntimeError: in one sentence, where nothing can be rendered.
    """
    agent, seed = load_agent(run_dir), _seeds(read_config(Path(run_dir)), _VIDEO, 1)[0]
    env = envs.make_env(agent.config.task, seed)
    observation, _ = env.reset(seed=seed)
    actions, done = [], False
    while not done:
        actions.append(agent.act(observation))
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        done = terminated or truncated
    env.close()
    target = Path(path) if path else Path(run_dir) / "video.mp4"
    return video.record_actions(agent.config.task, seed, np.stack(actions), target)
