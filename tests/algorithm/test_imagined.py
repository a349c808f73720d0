"""Q on its planner's best trajectories: targets, losses, and who is trained."""

from types import SimpleNamespace

import agents
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from pompc.algorithm import agent, instruments, update, update_model
from pompc.algorithm.agent import Elites
from pompc.algorithm.maths import Gaussian
from pompc.algorithm.rollout import make_rollout
from pompc.errors import ConfigError
from pompc.theory import tabular

KEY = jax.random.PRNGKey(3)


class ExactWorld:
    """A finite MDP that knows itself: latents are one-hot states, actions places in [-1, 1]."""

    def __init__(self, mdp, policy, config):
        self.mdp, self.chosen, self.config = mdp, policy, config
        self.count = mdp.rewards.shape[1]
        self.action_dim, self.observation_dim = 1, len(mdp.rewards)

    def action(self, index):
        """Return the action in [-1, 1] `[..., 1]` that stands for an action of the MDP."""
        return jnp.asarray(index)[..., None] / (self.count - 1) * 2.0 - 1.0

    def _pair(self, latent, action):
        index = jnp.round((action[..., 0] + 1.0) / 2.0 * (self.count - 1)).astype(int)
        return jnp.argmax(latent, axis=-1), index

    def encode(self, _, observation):
        return observation

    def next_latent(self, _, latent, action):
        return jnp.asarray(self.mdp.transitions, jnp.float32)[self._pair(latent, action)]

    def reward(self, _, latent, action):
        return jnp.asarray(self.mdp.rewards, jnp.float32)[self._pair(latent, action)]

    def policy(self, _, latent):
        mean = self.action(self.chosen[jnp.argmax(latent, axis=-1)])
        return Gaussian(mean, jnp.zeros_like(mean))

    def sample_action(self, gaussian, noise):
        return gaussian.mean + gaussian.std * noise

    def draw_heads(self, _, q, how):
        assert how == "pair"
        return q

    def q_values(self, q, latent, action):
        return jnp.stack([table[self._pair(latent, action)] for table in q])


def test_q_is_the_fixed_point_where_the_model_is_exact(small):
    """Targets of any trajectory are Q^π; from another Q they come nearer by the factor γ."""
    mdp = tabular.gridworld(slip=0.0, discount=0.9)
    states, count = mdp.rewards.shape
    rng = np.random.default_rng(0)
    chosen = rng.integers(count, size=states)
    policy = np.eye(count)[chosen]
    exact = jnp.asarray(tabular.evaluate(mdp, policy, policy, lam=0.0), jnp.float32)
    world = ExactWorld(mdp, jnp.asarray(chosen), small(discount=0.9))
    actions = world.action(rng.integers(count, size=(3, states, 5)))
    elites = Elites(jnp.eye(states), actions, jnp.bool_(True))

    def imagined(q):
        parts = SimpleNamespace(encoder=None, dynamics=None, reward=None)
        state = SimpleNamespace(model=parts, policy=None, targets=SimpleNamespace(q=[q, q + 7.0]))
        found = update_model.imagine(world, state, elites, KEY)  # pyright: ignore
        return found, exact[world._pair(found.latents, found.actions)]

    found, expected = imagined(exact)
    assert found.targets.shape == (3, states * 5)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found.targets, expected, atol=1e-5)
    off = exact + jnp.asarray(rng.normal(size=exact.shape), jnp.float32)
    found, expected = imagined(off)
    error = np.abs(found.targets - expected).max()
    assert 0.1 < error <= 0.9 * np.abs(off - exact).max() + 1e-5


@pytest.fixture(scope="module")
def scene(small):
    config = small(lam=0.7, imagined_value_coef=0.1, max_grad_norm=1e9)
    world, needed, state = agents.make(config, seed=1)
    rng = np.random.default_rng(2)
    shape = config.horizon, 2, config.elites, agents.ACTIONS
    elites = Elites(
        jnp.float32(rng.normal(size=(2, agents.OBSERVATIONS))),
        jnp.float32(rng.uniform(-1, 1, shape)), jnp.bool_(True),
    )  # fmt: skip
    return world, needed, state, elites


def naive(state, config, elites, key):
    """Return latents, actions, and targets `[H, N]` of elites by the oracle, in float64."""
    params, s = agents.oracle_params(state), agents.oracle_settings(config)
    heads_key, noise_key = jax.random.split(key)
    pair = np.asarray(jax.random.permutation(heads_key, config.value_nets))[:2]
    horizon, plans, best, _ = elites.actions.shape
    noise = np.asarray(jax.random.normal(noise_key, (horizon, plans * best, agents.ACTIONS)))
    latents, actions = np.zeros((horizon + 1, plans * best, config.latent_dim)), []
    targets = np.zeros((horizon, plans * best))
    for n, (r, k) in enumerate(np.ndindex(plans, best)):
        latents[0, n] = oracle.encode(params, np.asarray(elites.observation[r]), 8)
        for h in range(horizon):
            action = np.asarray(elites.actions[h, r, k], float)
            reward = oracle.reward(params, latents[h, n], action, s.low, s.high, s.bins)
            latents[h + 1, n] = oracle.next_latent(params, latents[h, n], action, 8)
            following = oracle.policy_action(params, latents[h + 1, n], noise[h, n], s)
            values = oracle.pair_values(params["q_target"], pair, latents[h + 1, n], following, s)
            targets[h, n] = reward + config.discount * min(values)
            actions.append(action)
    actions = np.reshape(actions, (plans * best, horizon, -1)).swapaxes(0, 1)
    return params, latents[:-1], actions, targets


def test_targets_and_loss_are_those_of_the_oracle(scene):
    world, _, state, elites = scene
    found = update_model.imagine(world, state, elites, KEY)
    params, latents, actions, targets = naive(state, world.config, elites, KEY)
    np.testing.assert_allclose(found.latents, latents, atol=1e-5)
    np.testing.assert_allclose(found.actions, actions, atol=1e-6)
    np.testing.assert_allclose(found.targets, targets, rtol=1e-4, atol=1e-4)
    ours = update_model.imagined_loss(world, state.model.q, found, None)
    expected = oracle.value_loss(
        params["q"], latents, actions, targets, np.ones(targets.shape),
        agents.oracle_settings(world.config),
    )  # fmt: skip
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_fresh_elites_train_q_alone(scene):
    world, _, state, elites = scene
    state = agents.start_elsewhere(state, np.random.default_rng(0))
    batch = agents.make_batch(world.config)
    rollout = make_rollout(world, state.model, batch)

    @jax.jit
    def step(fresh):
        given = elites._replace(fresh=fresh)
        return update_model.step_model(world, state, batch, rollout, batch.reward, KEY, given)

    (stale, without), (learned, metrics) = (step(jnp.bool_(fresh)) for fresh in (False, True))
    expected, plain = update_model.step_model(world, state, batch, rollout, batch.reward, KEY)
    assert set(metrics) - set(plain) == {"imagined_value_loss"}
    assert without["imagined_value_loss"] == 0
    assert metrics["imagined_value_loss"] > 0
    for name in ("encoder", "dynamics", "reward", "kl_q", "q"):
        parts = [getattr(one.model, name) for one in (stale, learned, expected)]
        old, new, plainly = (np.concatenate(list(map(np.ravel, jax.tree.leaves(p)))) for p in parts)
        np.testing.assert_allclose(old, plainly, atol=1e-5)
        assert (np.abs(new - old).max() > 0) == (name == "q"), name


def test_reanalysed_elites_are_those_of_the_plans(scene):
    """In the order of the batch; in an update that plans nothing they are not fresh."""
    world, needed, state, _ = scene
    config, batch = world.config, agents.make_batch(world.config)
    assert needed.imagined == "reanalysed"
    assert state.elites is None
    arguments = world, state, state.model.encoder
    made = update.reanalyse(*arguments, KEY, batch)
    count = config.horizon * config.reanalyse_batch
    assert made.elites is not None
    assert made.elites.actions.shape == (config.horizon, count, config.elites, agents.ACTIONS)
    for index, (t, b) in enumerate(np.ndindex(config.horizon, config.reanalyse_batch)):
        seen = batch.observation[t, b]
        np.testing.assert_array_equal(made.elites.observation[index], seen)
        if index == 7:
            latent, cold = world.encode(state.model.encoder, seen), jnp.zeros_like(state.plan_mean)
            key = jax.random.split(KEY, count)[index]
            expected = agent.make_plan(world, state, key, latent, cold).elites
            np.testing.assert_allclose(made.elites.actions[:, index], expected, atol=1e-5)
    _, kept = update.replan(*arguments, batch, KEY, jnp.bool_(False))
    assert kept.elites is not None
    assert not kept.elites.fresh


def test_without_lambda_q_learns_on_the_plan_that_acted(small):
    config = small(lam=0.0, imagined_value_coef=0.1)
    world, needed, state = agents.make(config)
    assert needed.imagined == "acting"
    assert not state.elites.fresh
    seen = jnp.arange(agents.OBSERVATIONS, dtype=jnp.float32)
    memory, choice = agent.act(world, state, seen)
    np.testing.assert_array_equal(memory.elites.observation[0], seen)
    assert memory.elites.fresh
    first = np.asarray(memory.elites.actions[0, 0])
    assert first.shape == (config.elites, agents.ACTIONS)
    spread = np.abs(first - np.asarray(choice.planner.mean)).max()
    assert spread < 4 * np.asarray(choice.planner.std).max() + 0.5


def test_at_0_there_are_no_elites(small):
    needed, state = agents.make(small(lam=0.0))[1:]
    assert needed.imagined == ""
    assert state.elites is None


@pytest.mark.parametrize("settings", [{"method": "bmpc"}, {"reanalyse_order": "after"}])
def test_what_has_no_q_or_no_plans_in_time_is_refused(small, settings):
    with pytest.raises(ConfigError, match="with imagined_value_coef"):
        small(imagined_value_coef=0.1, **settings)


def test_overestimation_is_that_of_a_loop(scene):
    world, _, state, _ = scene
    batch = agents.make_batch(world.config)
    found = instruments.overestimation(world, state, batch, KEY)
    params, s = agents.oracle_params(state), agents.oracle_settings(world.config)
    noise, heads, errors = jax.random.normal(KEY, batch.action[0].shape), range(3), []
    for b in range(world.config.batch_size):
        earned, steps, alive = 0.0, 0, 1.0
        while steps < world.config.horizon and batch.mask[steps, b]:
            earned += world.config.discount**steps * float(batch.reward[steps, b])
            alive *= 1.0 - float(batch.terminated[steps, b])
            steps += 1
        first, last = (
            oracle.encode(params, np.asarray(batch.observation[t, b]), 8) for t in (0, -1)
        )
        start = oracle.pair_values(params["q"], heads, first, np.asarray(batch.action[0, b]), s)
        action = oracle.policy_action(params, last, np.asarray(noise[b]), s)
        rest = np.mean(oracle.pair_values(params["q"], heads, last, action, s))
        errors.append(np.mean(start) - earned - alive * world.config.discount**steps * rest)
    np.testing.assert_allclose(found, np.mean(errors), rtol=1e-3)


def test_the_error_at_a_plan_s_end_is_that_of_its_last_step(scene):
    world, _, state, _ = scene
    observation = agents.make_batch(world.config).observation[0, :2]
    found = instruments.plan_end_error(world, state, observation, KEY)
    plan_key, target_key = jax.random.split(KEY)
    cold, made = jnp.zeros_like(state.plan_mean), []
    for key, seen in zip(jax.random.split(plan_key, 2), observation, strict=True):
        latent = world.encode(state.model.encoder, seen)
        made.append(agent.make_plan(world, state, key, latent, cold).elites)
    elites = Elites(observation, jnp.stack(made, axis=1), jnp.bool_(True))
    params, latents, actions, targets = naive(state, world.config, elites, target_key)
    s = agents.oracle_settings(world.config)
    errors = [
        abs(target - np.mean(oracle.pair_values(params["q"], range(3), latent, action, s)))
        for target, latent, action in zip(targets[-1], latents[-1], actions[-1], strict=True)
    ]
    np.testing.assert_allclose(found, np.mean(errors), rtol=1e-3)
