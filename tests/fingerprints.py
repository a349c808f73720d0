"""Stands for evaluation in runs that are killed: its episodes would take most of their time."""

import jax
import numpy as np

from pompc.population.groups import without_padding
from pompc.training.evaluation import Evaluation


class Fingerprints:
    """Returns that tell one agent from another: sums of the policy's parameters."""

    def __init__(self, programs, episodes):
        self.programs, self.episodes = programs, episodes

    def planner(self, states):
        population = self.programs.population
        sums = [
            np.asarray(leaf, np.float64).reshape(len(group.agents), -1).sum(axis=1)
            for group, state in zip(
                population.groups, without_padding(states, population), strict=True
            )
            for leaf in jax.tree.leaves(state.policy)[:1]
        ]
        returns = np.repeat(np.concatenate(sums)[:, None], self.episodes, axis=1)
        seeds, actions = np.zeros_like(returns, int), np.zeros((len(returns), 1, 1))
        return Evaluation(returns[..., None], seeds, actions)

    policy = planner
