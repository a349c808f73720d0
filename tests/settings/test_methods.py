"""Every method: its losses against its own equations, its parts, and that it learns."""

from __future__ import annotations

import agents
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import pompc
from pompc.algorithm import losses, optimizers, replay, update, update_model, update_policy
from pompc.algorithm.loss_weights import hypers
from pompc.algorithm.losses import over_time
from pompc.algorithm.maths import Gaussian
from pompc.algorithm.planner import Plan, choose_action, stored_policy
from pompc.algorithm.rollout import make_rollout
from pompc.settings.methods import METHODS
from pompc.training import trainer

POINT = '''
import gymnasium
import numpy as np


class Point(gymnasium.Env):
    """A point on a line that actions push; it is paid for staying near 0."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.choice([-1.0, 1.0])
        return np.array([self.place, 1.0]), {}

    def step(self, action):
        self.place = float(np.clip(self.place + 0.25 * float(action[0]), -2, 2))
        return np.array([self.place, 1.0]), float(np.exp(-4 * self.place**2)), False, False, {}


gymnasium.register("Point-v0", Point, max_episode_steps=25)
'''


class Scene:
    """One agent of a method, a hand-made batch, and its policy in float64."""

    def __init__(self, config):
        self.config = config
        self.world, self.parts, self.state = agents.make(config, seed=1)
        self.batch = agents.make_batch(config)
        if self.parts.cloning:
            returns = 10 * jnp.asarray(np.random.default_rng(3).normal(size=self.batch.mask.shape))
            self.batch = self.batch._replace(
                returns=jnp.float32(returns).at[0, 0].set(jnp.nan), best=jnp.float32(12.0)
            )
        self.rollout = make_rollout(self.world, self.state.model, self.batch)
        self.params, self.settings = (
            agents.oracle_params(self.state),
            agents.oracle_settings(config),
        )
        self.scales = self.state.scales._replace(kl=jnp.float32(3.0), value=jnp.float32(2.0))

    def gaussian(self, latent):
        """Return mean and std of the policy in action space, float64 `[A]`."""
        low, high = self.settings.log_std_low, self.settings.log_std_high
        mean, log_std = oracle.gaussian(self.params["policy"], latent, low, high)
        return mean, np.exp(log_std)

    def before_tanh(self, latent):
        """Return mean and std of a squashed policy, float64 `[A]`."""
        mean, raw = np.split(oracle.apply_mlp(self.params["policy"], latent), 2)
        return mean, np.exp(-10 + 6 * (np.tanh(raw) + 1))

    def loss(self):
        """Return the loss of the policy as the code computes it, with its noise."""
        latents, mask = update_policy.policy_latents(self.world, self.rollout, self.batch)
        noise = jax.random.normal(jax.random.PRNGKey(9), (*latents.shape[:-1], agents.ACTIONS))
        heads = (
            jax.tree.map(lambda leaf: leaf[:2], self.state.model.q) if self.parts.value else None
        )
        sample = update_policy.sample_policy(self.world, self.state.policy, heads, latents, noise)
        planner = Gaussian(self.batch.plan.mean[:-1], self.batch.plan.std[:-1])
        reference = planner if self.parts.reference else None
        terms = update_policy.policy_terms(
            self.world, sample, reference, self.scales, self.batch, self.parts
        )
        loss = losses.policy_loss(terms, hypers(self.config))
        return over_time(self.world.config, loss, mask), latents, mask, noise

    def climb(self, latent, noise):
        """Return mean and std of the policy, and -Q / S_Q - α A H at its sample, float64."""
        mean, std = self.gaussian(latent)
        value = self.value(latent, np.clip(mean + std * np.asarray(noise, float), -1, 1))
        return mean, std, -value / 2 - 1e-4 * 2 * oracle.entropy(std)

    def value(self, latent, action):
        """Return the mean of the first two heads, float64."""
        return np.mean(oracle.pair_values(self.params["q"], (0, 1), latent, action, self.settings))


def average(terms, mask, rho=0.5, divide=None):
    """Return the time average of terms `[H, B]`, by hand."""
    weights = rho ** np.arange(len(terms))
    return (weights[:, None] * mask * terms).sum() / terms.shape[1] / (divide or len(terms))


@pytest.mark.parametrize("corrected", [True, False])
def test_tdmpc2_climbs_q_with_a_squashed_policy_over_all_latents(small, corrected):
    scene = Scene(small(method="tdmpc2", squash_correction=corrected, entropy_coef=0.1))
    ours, latents, mask, noise = scene.loss()
    assert latents.shape[0] == scene.config.horizon + 1
    terms = np.zeros(mask.shape)
    for t, b in np.ndindex(terms.shape):
        mean, std = scene.before_tanh(latents[t][b])
        action = np.tanh(mean + std * np.asarray(noise[t][b], float))
        entropy = 2 * oracle.entropy(std)
        if corrected:
            entropy += np.log(1 - action**2 + 1e-6).sum()
        terms[t, b] = -scene.value(latents[t][b], action) / 2 - 0.1 * entropy
    np.testing.assert_allclose(ours, average(terms, np.asarray(mask)), rtol=1e-4)


@pytest.mark.parametrize("method", ["bmpc_v3", "bmpc", "bmpc_jax"])
def test_bmpc_clones_the_stored_planner(small, method):
    scene = Scene(small(method=method))
    ours, latents, mask, _ = scene.loss()
    terms = np.zeros(mask.shape)
    for t, b in np.ndindex(terms.shape):
        mean, std = scene.gaussian(latents[t][b])
        target = np.asarray(scene.batch.plan.mean[t][b]), np.asarray(scene.batch.plan.std[t][b])
        terms[t, b] = oracle.kl(mean, std, *target) / 3
        if method == "bmpc":
            terms[t, b] = terms[t, b] / 2 - 1e-4 * 2 * oracle.entropy(std)
    divide = 1 + 0.5 + 0.25 if method == "bmpc_jax" else None
    np.testing.assert_allclose(ours, average(terms, np.asarray(mask), divide=divide), rtol=1e-4)


def test_bmpc_jax_widens_what_it_clones(small):
    scene = Scene(small(method="bmpc_jax"))
    planner, _ = update.planners(scene.world, scene.batch)
    expected = np.maximum(1.5 * np.asarray(scene.batch.plan.std[:-1]), 0.1)
    np.testing.assert_allclose(planner.std, expected, rtol=1e-6)


def test_bmpc_jax_measures_its_kl_on_the_plans_that_the_same_update_made(small):
    scene = Scene(small(method="bmpc_jax"))
    _, plans, metrics = update.update(
        scene.world, scene.state, scene.batch, scene.parts, jnp.bool_(True)
    )
    distances = []
    for b in range(scene.config.batch_size):
        source = plans if b < scene.config.reanalyse_batch else scene.batch.plan
        target = source.mean[0][b], np.maximum(1.5 * np.asarray(source.std[0][b]), 0.1)
        distances.append(oracle.kl(*scene.gaussian(scene.rollout.latents[0][b]), *target))
    low, high = np.percentile(distances, [5, 95])
    assert float(metrics["scale_kl"]) == pytest.approx(high - low, rel=1e-4)


@pytest.mark.parametrize("scale", [1.5, 2.5, 40.0])
def test_td_m_pc_squared_eq_34(small, scale):
    """TD-MPC2's loss, and β A²/61 (-log planner(a)) / S_Q at the sample once S_Q is above 2."""
    scene = Scene(small(method="tdmpc_square", cross_entropy_coef=0.3))
    scene.scales = scene.scales._replace(value=jnp.float32(scale))
    ours, latents, mask, noise = scene.loss()
    terms = np.zeros(mask.shape)
    for t, b in np.ndindex(terms.shape):
        mean, std = scene.before_tanh(latents[t][b])
        action = np.tanh(mean + std * np.asarray(noise[t][b], float))
        slope = np.log(1 - action**2 + 1e-6).sum()
        bonus = 1e-4 * (agents.ACTIONS * oracle.entropy(std) + slope)
        m, s = np.asarray(scene.batch.plan.mean[t][b]), np.asarray(scene.batch.plan.std[t][b])
        density = (-0.5 * ((action - m) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)).sum()
        terms[t, b] = -scene.value(latents[t][b], action) / scale - bonus
        if scale > 2:
            terms[t, b] -= 0.3 * agents.ACTIONS**2 / 61 * density / scale
    np.testing.assert_allclose(ours, average(terms, np.asarray(mask)), rtol=1e-4)


@pytest.mark.parametrize("scale", [1.5, 2.5, 40.0])
def test_boom_aligns_its_sample_with_the_planner_s_mean(small, scale):
    """TD-MPC2's loss with the least Q, and κ A² softmax(Q) (-log N(a)) / S_Q above S_Q = 2."""
    scene = Scene(small(method="boom", alignment_coef=0.3))
    scene.scales = scene.scales._replace(value=jnp.float32(scale))
    ours, latents, mask, noise = scene.loss()
    mask = np.asarray(mask)
    terms, values, densities = np.zeros((3, *mask.shape))
    for t, b in np.ndindex(mask.shape):
        mean, std = scene.before_tanh(latents[t][b])
        action = np.tanh(mean + std * np.asarray(noise[t][b], float))
        heads = oracle.pair_values(scene.params["q"], (0, 1), latents[t][b], action, scene.settings)
        values[t, b] = min(heads) / scale
        slope = np.log(1 - action**2 + 1e-6).sum()
        bonus = 1e-4 * (agents.ACTIONS * oracle.entropy(std) + slope)
        terms[t, b] = -values[t, b] - bonus
        s, planned = np.maximum(std, 0.05), np.asarray(scene.batch.plan.mean[t][b], float)
        distance = 0.5 * ((action - planned) / s) ** 2
        densities[t, b] = (-distance - np.log(s) - 0.5 * np.log(2 * np.pi)).sum()
    expected = average(terms, mask)
    if scale > 2:
        for t, here in enumerate(mask > 0):
            weights = np.exp(values[t][here]) / np.exp(values[t][here]).sum()
            likely = (weights * densities[t][here]).sum() * agents.ACTIONS**2 / 50 / scale
            expected -= 0.3 * 0.5**t / len(mask) * likely
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_boom_s_alignment_moves_the_action_alone():
    """Neither weights nor standard deviation have a gradient; many actions weigh less."""
    rng = np.random.default_rng(0)
    value, mask = jnp.float32(rng.normal(size=(1, 5))), jnp.ones((1, 5))

    def gradients(count):
        action, mean = jnp.float32(rng.normal(size=(2, 1, 5, count)))
        std = jnp.float32(rng.uniform(0.1, 1, (1, 5, count)))

        def total(action, std, value):
            return losses.alignment(action, mean, std, value, jnp.float32(4), mask).sum()

        found = jax.grad(total, argnums=(0, 1, 2))(action, std, value)
        weights = np.exp(value[0]) / np.exp(value[0]).sum()
        pull = 5 * weights[:, None] * np.asarray((action - mean) / std**2)[0]
        return found, pull * count**2 / 4

    for count, divisor in ((2, 50), (23, 50), (24, 1000), (48, 1000), (49, 50)):
        (action, *others), pull = gradients(count)
        np.testing.assert_allclose(action[0], pull / divisor, rtol=1e-3)
        assert not any(np.any(other) for other in others)


def test_td_mpbc_eq_43(small):
    """λ = 0, and -exp((R - G) / |G|) log π(a) for the actions of episodes that have ended."""
    scene = Scene(small(method="tdmpbc", cloning_coef=0.3))
    ours, latents, mask, noise = scene.loss()
    terms = np.zeros(mask.shape)
    for t, b in np.ndindex(terms.shape):
        mean, std, terms[t, b] = scene.climb(latents[t][b], noise[t][b])
        if (t, b) != (0, 0):
            stored = np.asarray(scene.batch.action[t][b], float)
            density = -0.5 * ((stored - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)
            weight = np.exp((float(scene.batch.returns[t][b]) - 12.0) / 12.0)
            terms[t, b] -= 0.3 * weight * density.sum()
    np.testing.assert_allclose(ours, average(terms, np.asarray(mask)), rtol=1e-4)


@pytest.mark.parametrize("method", ["bmpc", "bmpc_jax"])
def test_state_values_follow_one_step_of_the_model(small, method):
    """Target r + γ V(z') at the policy's own action from the encoded latent."""
    scene = Scene(small(method=method))
    noise = jax.random.normal(jax.random.PRNGKey(4), scene.batch.action.shape)
    heads = scene.state.targets.q
    ours = update_model.state_value_targets(scene.world, scene.state, heads, scene.rollout, noise)
    assert ours.kl_q is None
    s = scene.settings
    for t, b in ((0, 0), (1, 3), (2, 7)):
        latent = oracle.encode(scene.params, scene.batch.observation[t][b], 8)
        mean, std = scene.gaussian(latent)
        action = np.clip(mean + std * np.asarray(noise[t][b], float), -1, 1)
        reward = oracle.reward(scene.params, latent, action, s.low, s.high, s.bins)
        following = oracle.next_latent(scene.params, latent, action, 8)
        values = [
            oracle.two_hot_decode(oracle.apply_mlp(head, following), s.low, s.high, s.bins)
            for head in scene.params["q_target"]
        ]
        expected = reward + scene.config.discount * np.mean(values)
        np.testing.assert_allclose(ours.q[t][b], expected, rtol=1e-4, atol=1e-5)


def test_mean_of_two_heads_as_target(small):
    scene = Scene(small(method="bmpc_v3"))
    values = jnp.asarray([[1.0, 5.0], [3.0, 4.0]])
    np.testing.assert_allclose(update_model._reduce_heads(scene.world, values), [2.0, 4.5])
    least = Scene(small()).world
    np.testing.assert_allclose(update_model._reduce_heads(least, values), [1.0, 4.0])


@pytest.mark.parametrize(("method", "eps"), [("tdmpc2", 1e-8), ("bmpc", 1e-5)])
def test_adam_of_the_policy_has_its_methods_epsilon(small, method, eps):
    config = small(method=method)
    adam = optimizers.policy_optimizer(config)
    gradient = np.array([1e-6, -1e-5, 1e-3])
    step, _ = adam.update(jnp.float32(gradient), adam.init(jnp.zeros(3)))
    naive = -config.learning_rate * gradient / (np.abs(gradient) + eps)
    np.testing.assert_allclose(step, naive, rtol=2e-3)


def test_the_drawn_elite_is_the_clone_s_mean_by_option():
    elites = jnp.asarray([[[0.1], [0.2], [0.3]]])
    made = Plan(jnp.zeros((1, 1)), jnp.full((1, 1), 0.5), elites, jnp.full(3, 1 / 3), jnp.zeros(()))
    found = set()
    for number in range(20):
        key = jax.random.PRNGKey(number)
        stored = stored_policy(made, key, "elite")
        np.testing.assert_array_equal(stored.mean, choose_action(made, key, "elite", explore=False))
        found.add(float(stored.mean[0]))
    assert len(found) == 3
    assert float(stored_policy(made, key, "plan").mean[0]) == 0


def test_rows_learn_the_return_of_their_episode():
    """Three episodes of 4 actions in a ring that holds two and a half."""
    buffer = replay.create(12, 1, 1, with_returns=True)
    plan = Gaussian(jnp.zeros(1), jnp.ones(1))
    flag = {value: jnp.bool_(value) for value in (False, True)}
    for episode in range(3):
        for step in range(5):
            last = step == 4
            reward = jnp.float32(10**episode if step else 0)
            buffer = replay.set_outcome(buffer, reward, flag[False])
            buffer = replay.append(buffer, jnp.ones(1), jnp.ones(1), plan, flag[last], flag[True])
            buffer = replay.close_episode(buffer, flag[last])
            rows = np.asarray(buffer.returns.of_row)[
                np.arange(int(buffer.rows) - step - 1, int(buffer.rows)) % 12
            ]
            assert np.isnan(rows).all() != last
    returns = np.asarray(buffer.returns.of_row)
    np.testing.assert_array_equal(returns, [400, 400, 400, 4, 4, 40, 40, 40, 40, 40, 400, 400])
    assert float(buffer.returns.best) == 400


def test_an_episode_s_return_counts_each_reward_once_in_a_population():
    """Where a neighbour's episode ends, `record_end` stores this agent's outcome a first time."""
    buffer = replay.create(20, 1, 1, with_returns=True)
    plan, one = Gaussian(jnp.zeros(1), jnp.ones(1)), jnp.ones(1)
    flag = {value: jnp.bool_(value) for value in (False, True)}
    buffer = replay.record(buffer, jnp.float32(0), flag[False], one, one, plan)
    for step, reward in enumerate(jnp.float32([1, 2, 4, 8]), 1):
        if step in (2, 3):
            buffer = replay.record_end(buffer, reward, flag[False], one, plan, flag[False])
        if step < 4:
            buffer = replay.record(buffer, reward, flag[False], one, one, plan)
    assert float(buffer.returns.so_far) == 1 + 2 + 4
    buffer = replay.record_end(buffer, reward, flag[False], one, plan, flag[True])
    np.testing.assert_array_equal(buffer.returns.of_row[:5], np.full(5, 15))
    assert (float(buffer.returns.best), float(buffer.returns.so_far)) == (15, 0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(small, tmp_path, monkeypatch, method):
    """Untrained planners wander about -1 or 1; standing still earns 0.5, the way to 0 about 20.

    Networks of 16 with batches of 8 left 15 of 104 agents of `bmpc` and `bmpc_v3` below 12. One
    program of all methods takes many times longer to compile than a program for each.
    """
    (tmp_path / "point_env.py").write_text(POINT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(trainer, "LOG_INTERVAL", 1000)  # no instruments, which compile as well
    config = small(
        task="gym:point_env:Point-v0", method=method, steps=700, evaluate_every=700,
        seeding_decisions=200, seeding="uniform", learning_rate=3e-3,
        encoder_learning_rate=3e-3, evaluation_episodes=4, elites=4, value_nets=2, horizon=2,
        encoder_dim=32, latent_dim=32, hidden_dim=32, batch_size=32,
    )  # fmt: skip
    pompc.train(config, tmp_path / "run")
    rows = pompc.load_runs(tmp_path / "run")
    assert list(rows["env_step"]) == [0, 700]
    assert rows["return"].iloc[-1] > 12
