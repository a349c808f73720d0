"""One decision of a population: act, and update while the simulators step (Algorithm 2)."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from pompc.envs.vector import Feedback, Observations, Vector
from pompc.population.groups import Learners, actors, remember
from pompc.population.programs import Programs


class Decision(NamedTuple):
    """What one decision leaves; its update may still be running."""

    learners: Learners
    result: Observations
    metrics: Any  # on the device, [G, M] of each group; None without an update
    seconds: np.ndarray  # waiting for the actions, the simulators, and the update before them


def first_feedback(vector: Vector) -> Feedback:
    """Start an episode in every environment."""
    nothing = np.zeros(vector.count, np.float32), np.zeros(vector.count, bool)
    return Feedback(*nothing, vector.reset())


def act(
    programs: Programs, learners: Learners, feedback: Feedback, seeding: bool = False
) -> tuple[Learners, Any]:
    """Let every agent store what it learned of the world and act; actions `[P, A]`."""
    program = programs.act_seeding if seeding else programs.act
    *changed, actions = program(actors(learners.states), learners.buffers, *feedback)
    return remember(learners.states, *changed), actions


def decide(
    programs: Programs,
    vector: Vector,
    learners: Learners,
    feedback: Feedback,
    seeding: bool,
    reanalyse_now: bool | None,
    running: Any = None,
) -> Decision:
    """Let every agent act, and update while its simulator steps; None: no update.

    The programs wait for each other on the device: acting is dispatched while the update before it,
    whose metrics are `running`, may still compute, so that a GPU has no pause between them.
    """
    clock = [time.perf_counter()]
    learners, actions = act(programs, learners, feedback, seeding)
    jax.block_until_ready(running)
    clock.append(time.perf_counter())
    vector.send(np.asarray(actions))
    clock.append(time.perf_counter())
    metrics = None
    if reanalyse_now is not None:
        *learned, metrics = programs.update(*learners, np.bool_(reanalyse_now))
        learners = Learners(*learned)
    result = vector.receive()
    clock.append(time.perf_counter())
    updated, acted, simulated = np.diff(clock)
    return Decision(learners, result, metrics, np.array([acted, simulated, updated]))


def discard_episodes(programs: Programs, learners: Learners, failed: np.ndarray) -> Learners:
    """Forget the present episodes of the environments that failed, bool `[P]`."""
    if not failed.any():
        return learners
    changed = programs.discard_episode(actors(learners.states), learners.buffers, failed)
    return remember(learners.states, *changed)


def close_episodes(
    programs: Programs, learners: Learners, result: Observations, seeding: bool
) -> Learners:
    """Store the last observation of the episodes that ended."""
    done = result.terminated | result.truncated
    if not done.any():
        return learners
    end = programs.end_seeding_episode if seeding else programs.end_episode
    outcome = result.reward, result.terminated, result.final_observation
    changed = end(actors(learners.states), learners.buffers, *outcome, done)
    return remember(learners.states, *changed)
