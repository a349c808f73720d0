"""One decision of a population: act, and update while the simulators step (Algorithm 2)."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from pompc.envs.vector import Observations, Vector
from pompc.population import Learners, Programs


class Feedback(NamedTuple):
    """What the environments last said, `[P, ...]`."""

    observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


class Decision(NamedTuple):
    """What one decision leaves; `metrics` is None without an update."""

    learners: Learners
    result: Observations
    metrics: Any  # on the device, [G, M] of each group
    seconds: tuple[float, float]  # until the actions were there; until the simulators were done


def first_feedback(vector: Vector) -> Feedback:
    """Start an episode in every environment."""
    nothing = np.zeros(vector.count, np.float32), np.zeros(vector.count, bool)
    return Feedback(vector.reset(), *nothing)


def decide(
    programs: Programs,
    vector: Vector,
    learners: Learners,
    feedback: Feedback,
    seeding: bool,
    reanalyse_now: bool | None,
) -> Decision:
    """Let every agent act, and update while its simulator steps; None: no update."""
    started = time.perf_counter()
    act = programs.act_seeding if seeding else programs.act
    states, buffers, actions = act(*learners, *feedback)
    vector.send(np.asarray(actions))
    acted = time.perf_counter()
    metrics = None
    if reanalyse_now is not None:
        states, buffers, metrics = programs.update(states, buffers, np.bool_(reanalyse_now))
    result = vector.receive()
    seconds = acted - started, time.perf_counter() - acted
    return Decision(Learners(states, buffers), result, metrics, seconds)


def close_episodes(
    programs: Programs, learners: Learners, result: Observations, seeding: bool
) -> Learners:
    """Store the last observation of the episodes that ended."""
    done = result.terminated | result.truncated
    if not done.any():
        return learners
    close = programs.close_seeding if seeding else programs.close_episode
    outcome = result.final_observation, result.reward, result.terminated
    return Learners(*close(*learners, *outcome, done))
