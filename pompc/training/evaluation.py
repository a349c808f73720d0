"""Evaluation of trained agents: episodes without exploration, single actions, videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from pompc import envs, runs, runtime
from pompc.algorithm.agent import AgentState
from pompc.envs import Vector, make_vector, video
from pompc.errors import ConfigError
from pompc.population.groups import Group, initial_arguments, make_groups
from pompc.population.programs import Programs, make_programs
from pompc.runs import checkpoint
from pompc.runs.folder import read_config
from pompc.settings.config import Config

_TRAINING, _EVALUATION = range(2)  # streams of a run's seed


@jax.jit
def _fold_in(keys: Array, decision: int) -> Array:
    """Return the keys `[P, N]` of one decision of evaluation."""
    return jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, decision)))(keys)


def training_seed(config: Config) -> int:
    """Return the seed of the environment that an agent trains in."""
    return _seeds(config, _TRAINING, 1)[0]


def evaluation_seeds(config: Config, episodes: int) -> list[int]:
    """Return the seeds of the environments that an agent is evaluated in."""
    return _seeds(config, _EVALUATION, episodes)


def _seeds(config: Config, stream: int, count: int) -> list[int]:
    sequence = np.random.SeedSequence(config.seed, spawn_key=(stream,))
    return [int(seed) for seed in sequence.generate_state(count)]


class Evaluation(NamedTuple):
    """What evaluation episodes leave, `N` an agent, of at most `T` decisions."""

    rewards: np.ndarray  # [P, N, T], NaN after an episode's end
    seeds: np.ndarray  # [P, N]: of the episodes' environments
    actions: np.ndarray  # [P, T, A]: of each agent's first episode, zeros after its end, NaN where
    # its environment failed and it started anew

    @property
    def returns(self) -> np.ndarray:
        """The sum of each episode's rewards, `[P, N]`."""
        return np.asarray(np.nansum(self.rewards, axis=-1, dtype=np.float64))


class Returns:
    """Evaluates a population in environments of its own, `N` episodes an agent."""

    def __init__(self, programs: Programs, episodes: int) -> None:
        """Keep what every evaluation needs; environments are made anew for each."""
        self._programs, self._episodes = programs, episodes
        self._agents = [config for group in programs.groups for config in group.agents]
        self._seeds = np.array([evaluation_seeds(config, episodes) for config in self._agents])

    def planner(self, states: tuple[AgentState, ...]) -> Evaluation:
        """Evaluate the planner without exploration noise."""
        world = self._programs.groups[0].world
        keys = jax.vmap(lambda key: jax.random.split(key, self._episodes))(
            initial_arguments(self._programs.groups)[0]
        )
        means = jnp.zeros((*self._seeds.shape, world.config.horizon, world.action_dim))
        decision = 0

        def act(observations: np.ndarray, first: np.ndarray) -> Array:
            nonlocal means, decision
            decision += 1
            if first.any():
                means = jnp.where(first[..., None, None], 0.0, np.asarray(means))
            actions, means = self._programs.evaluation_actions(
                states, _fold_in(keys, decision), observations, means
            )
            return actions

        return self._run(act)

    def policy(self, states: tuple[AgentState, ...]) -> Evaluation:
        """Evaluate π_s alone, its mean action, without the planner."""
        return self._run(lambda seen, _: self._programs.policy_actions(states, seen))

    def _run(self, act: Callable[[np.ndarray, np.ndarray], Array]) -> Evaluation:
        seeds = [int(seed) for seed in self._seeds.flat]
        workers = runtime.cores() if len(self._agents) > 1 else 0
        with make_vector(self._agents[0].task, seeds, workers) as vector:
            return first_episodes(vector, act, self._seeds)


def first_episodes(
    vector: Vector,
    act: Callable[[np.ndarray, np.ndarray], Array | np.ndarray],
    seeds: np.ndarray,
) -> Evaluation:
    """Run every environment to the end of its first episode.

    Args:
        vector: environments of `P` agents, `N` each.
        act: a function of observations `[P, N, O]` and of where they are the first of an episode,
            bool `[P, N]`, that returns actions `[P, N, A]`.
        seeds: of the environments, `[P, N]`.
    """
    observation = vector.reset()
    running, first = np.ones((2, vector.count), bool)
    taken: list[np.ndarray] = []
    rewards: list[np.ndarray] = []
    while running.any():
        seen = observation.reshape(*seeds.shape, -1)
        actions = np.asarray(act(seen, first.reshape(seeds.shape)))
        taken.append(actions[:, 0] * running.reshape(seeds.shape)[:, :1])
        result = vector.step(actions.reshape(vector.count, -1))
        rewards.append(np.where(running, result.reward, np.nan))
        first = running & (result.failure != "")  # their episodes start anew
        if first.any():
            for earlier in rewards:
                earlier[first] = np.nan
            for earlier in taken:
                earlier[first.reshape(seeds.shape)[:, 0]] = np.nan
        running &= ~(result.terminated | result.truncated)
        observation = result.observation
    paid = np.stack(rewards, axis=-1).reshape(*seeds.shape, -1)
    return Evaluation(paid, seeds, np.stack(taken, axis=1))


class Agent:
    """A trained agent that acts on single observations, planning anew at each."""

    def __init__(self, group: Group, states: AgentState) -> None:
        """Use `load_agent` instead."""
        self.config, self._states = group.agents[0], (states,)
        self._programs = make_programs((group,))
        self._world = group.world
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


def load_agent(run_dir: str | Path, agent: int = 0) -> Agent:
    """Load the newest checkpoint of a run, of a population agent number `agent`.

    The agents of a population are numbered as their rows in metrics.csv and in each evaluation
    of returns.csv.

    Raises:
        ConfigError: if the folder holds no run, or the run no such agent.
        FileNotFoundError: if the run has no checkpoint yet.
    """
    groups, states = _restore(Path(run_dir))
    _check_agent(agent, groups[-1].rows.stop)
    number = next(index for index, group in enumerate(groups) if agent < group.rows.stop)
    group, row = groups[number], agent - groups[number].rows.start
    alone = group._replace(agents=(group.agents[row],), rows=slice(0, 1))
    several = len(group.agents) > 1
    own = jax.tree.map(lambda leaf: leaf[row] if several else leaf, states[number])
    return Agent(alone, own)


def _check_agent(agent: int, count: int) -> None:
    if not 0 <= agent < count:
        raise ConfigError(f"agent is {agent}, but the run holds agents 0 to {count - 1}")


def _restore(run_dir: Path) -> tuple[tuple[Group, ...], tuple[AgentState, ...]]:
    config = read_config(run_dir)
    runtime.configure(config.matmul_precision)
    groups = read_groups(config)
    like, _ = jax.eval_shape(make_programs(groups).init, *initial_arguments(groups))
    return groups, checkpoint.restore_agents(run_dir, like, groups)


def read_groups(config: Config) -> tuple[Group, ...]:
    """Return the groups of a configuration, sized by its environment."""
    return make_groups(config.agents, *envs.dimensions(config.task))


def evaluate(run_dir: str | Path, episodes: int = 10) -> pd.DataFrame:
    """Evaluate the newest checkpoint of a run anew.

    Returns:
        One row an agent and episode: `agent, method, lam, prior, seed, episode, return,
        return_policy`.
    """
    groups, states = _restore(Path(run_dir))
    returns = Returns(make_programs(groups), episodes)
    planner, policy = returns.planner(states).returns, returns.policy(states).returns
    agents = [config for group in groups for config in group.agents]
    return pd.DataFrame([
        {"agent": index, "method": config.method, "lam": config.lam, "prior": config.prior,
         "seed": config.seed, "episode": episode, "return": planner[index, episode],
         "return_policy": policy[index, episode]}
        for index, config in enumerate(agents)
        for episode in range(episodes)
    ])  # fmt: skip


def record_video(run_dir: str | Path, path: str | Path | None = None, agent: int = 0) -> Path:
    """Record an agent's first episode of the newest evaluation as an mp4.

    It is one of the episodes whose mean stands in returns.csv; by default the video lands in
    `run_dir/video.mp4`.

    Raises:
        ConfigError: if the folder holds no run.
        FileNotFoundError: if the run has not evaluated yet.
        RuntimeError: in one sentence, where nothing can be rendered.
    """
    config, stored = read_config(Path(run_dir)), Path(run_dir) / runs.EPISODES
    if not stored.exists():
        raise FileNotFoundError(f"the run in {str(run_dir)!r} has not evaluated its agents yet")
    with np.load(stored) as episodes:
        _check_agent(agent, len(episodes["seed"]))
        seed, actions = int(episodes["seed"][agent]), episodes["actions"][agent]
    if np.isnan(actions).any():
        raise RuntimeError(
            f"there is no video of agent {agent}: the environment of its first evaluation episode "
            "failed, and the episode was started anew"
        )
    target = Path(path) if path else Path(run_dir) / "video.mp4"
    return video.record_actions(config.task, seed, actions, target)
