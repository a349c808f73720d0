"""Evaluation of a population: whole episodes without exploration."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pompc import runtime
from pompc.algorithm.agent import AgentState
from pompc.envs import Vector, make_vector
from pompc.population.groups import actors, initial_arguments
from pompc.population.programs import Programs
from pompc.runs.files import write_arrays
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
    return np.random.SeedSequence(config.seed, spawn_key=(stream,)).generate_state(count).tolist()


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


def save_episodes(path: Path, env_step: int, evaluation: Evaluation) -> None:
    """Keep the rewards of an evaluation's episodes, and of each agent's first its actions."""
    write_arrays(
        path,
        {"env_step": np.array(env_step), "seed": evaluation.seeds[:, 0],
         "actions": evaluation.actions, "rewards": evaluation.rewards},
    )  # fmt: skip


class Evaluator:
    """Evaluates a population, `N` episodes an agent, in environments made anew each time."""

    def __init__(self, programs: Programs, episodes: int) -> None:
        self._programs, self._episodes = programs, episodes
        self._agents = programs.population.agents
        self._seeds = np.array([evaluation_seeds(config, episodes) for config in self._agents])

    def planner(self, states: tuple[AgentState, ...]) -> Evaluation:
        """Evaluate the planner without exploration noise."""
        population = self._programs.population
        world, (own, _) = population.world, initial_arguments(population)
        keys = jax.vmap(lambda key: jax.random.split(key, self._episodes))(own)
        means = jnp.zeros((*self._seeds.shape, world.config.horizon, world.action_dim))
        acting, decision = actors(states), 0

        def act(observations: np.ndarray, first: np.ndarray) -> Array:
            nonlocal means, decision
            decision += 1
            if first.any():
                means = jnp.where(first[..., None, None], 0.0, np.asarray(means))
            actions, means = self._programs.evaluation_actions(
                acting, _fold_in(keys, decision), observations, means
            )
            return actions

        return self._run(act)

    def policy(self, states: tuple[AgentState, ...]) -> Evaluation:
        """Evaluate π_s alone, its mean action, without the planner."""
        acting = actors(states)
        return self._run(lambda seen, _: self._programs.policy_actions(acting, seen))

    def _run(self, act: Callable[[np.ndarray, np.ndarray], Array]) -> Evaluation:
        seeds = [int(seed) for seed in self._seeds.flat]
        workers = runtime.cores() if len(self._agents) > 1 else 0
        with make_vector(self._programs.population.world.config.task, seeds, workers) as vector:
            return first_episodes(vector, act, self._seeds)


def first_episodes(
    vector: Vector,
    act: Callable[[np.ndarray, np.ndarray], Array | np.ndarray],
    seeds: np.ndarray,
) -> Evaluation:
    """Run every environment of `P` agents, `N` each, to the end of its first episode.

    `act` maps observations `[P, N, O]`, and where they are the first of an episode, bool `[P, N]`,
    to actions `[P, N, A]`; `seeds [P, N]` are the environments'.
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
