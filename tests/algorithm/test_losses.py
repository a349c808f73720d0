"""Each numbered equation, and TD-MPC2's losses, against the naive float64 oracle."""

import agents
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from pompc.algorithm import losses, update, update_model, update_policy
from pompc.algorithm.agent import TargetParams
from pompc.algorithm.loss_weights import Parts, hypers, parts
from pompc.algorithm.maths import Gaussian
from pompc.algorithm.rollout import make_rollout

PAIR = (0, 2)


@pytest.fixture
def scene(small):
    """Return everything one update works on, for λ = 0.7, and its oracle form."""
    config = small(lam=0.7, kl_value_coef=0.1)
    world, parts, state = agents.make(config, seed=1)
    batch = agents.make_batch(config)
    rollout = make_rollout(world, state.model, batch)
    noise = jax.random.normal(jax.random.PRNGKey(9), batch.action.shape)
    return Scene(config, world, parts, state, batch, rollout, noise)


class Scene:
    def __init__(self, config, world, parts, state, batch, rollout, noise):
        self.config, self.world, self.parts, self.state = config, world, parts, state
        self.batch, self.rollout, self.noise = batch, rollout, noise
        self.params = agents.oracle_params(state)
        self.settings = agents.oracle_settings(config)
        self.planner = Gaussian(batch.plan.mean[:-1], batch.plan.std[:-1])
        self.next_planner = Gaussian(batch.plan.mean[1:], batch.plan.std[1:])

    def pair(self, ensemble):
        return jax.tree.map(lambda leaf: leaf[jnp.array(PAIR)], ensemble)

    def inputs(self, key=4):
        return update_policy.policy_inputs(
            self.world, self.state, self.batch, self.rollout, self.planner, self.state.model,
            self.parts, jax.random.PRNGKey(key),
        )  # fmt: skip

    def targets(self, target_kl):
        heads = TargetParams(self.pair(self.state.targets.q), self.pair(self.state.targets.kl_q))
        return update_model.td_targets(
            self.world, self.state.policy, heads, self.batch, self.rollout, target_kl, self.noise
        )

    def oracle_targets(self, function, *more):
        return function(
            self.params, self.rollout.encoded, self.batch.reward, self.batch.terminated,
            self.noise, PAIR, self.config.discount, self.settings, *more,
        )  # fmt: skip

    def policy_kl(self, latents, planner):
        """Raw KL[π_s ‖ π_p] by the oracle, [H, B]."""
        low, high = self.settings.log_std_low, self.settings.log_std_high
        result = np.zeros(latents.shape[:2])
        for t, b in np.ndindex(result.shape):
            mean, log_std = oracle.gaussian(self.params["policy"], latents[t][b], low, high)
            if planner is None:
                other, other_log = oracle.gaussian(self.params["prior"], latents[t][b], low, high)
                reference = other, np.exp(other_log)
            else:
                reference = planner.mean[t][b], planner.std[t][b]
            result[t, b] = oracle.kl(mean, np.exp(log_std), *reference)
        return result


def test_rollout_and_encoding(scene):
    expected = oracle.rollout(
        scene.params, scene.batch.observation[0], scene.batch.action, scene.settings
    )
    np.testing.assert_allclose(scene.rollout.latents, expected, atol=1e-5)
    for t, b in ((0, 0), (2, 5)):
        encoded = oracle.encode(scene.params, scene.batch.observation[t + 1][b], 8)
        np.testing.assert_allclose(scene.rollout.encoded[t][b], encoded, atol=1e-5)


def test_td_target_eq_15(scene):
    expected = scene.oracle_targets(oracle.td_targets)
    targets = scene.targets(None)
    np.testing.assert_allclose(targets.q, expected, rtol=1e-4)
    assert targets.kl_q is None
    ended = np.asarray(scene.batch.terminated) == 1
    np.testing.assert_array_equal(np.asarray(targets.q)[ended], scene.batch.reward[ended])


@pytest.mark.parametrize("replayed", [False, True])
@pytest.mark.parametrize("scale", [0.3, 40.0])
def test_kl_td_target_eq_17(scene, replayed, scale):
    planner = scene.next_planner if replayed else None
    raw = scene.policy_kl(np.asarray(scene.rollout.encoded), planner)
    expected = scene.oracle_targets(oracle.kl_td_targets, 0.7, raw, scale)
    state = scene.state._replace(
        scales=scene.state.scales._replace(kl=jnp.float32(scale)),
        hypers=scene.state.hypers._replace(replay_prior=jnp.float32(replayed)),
    )
    weighted = update_policy.weighted_target_kl(
        scene.world, state, scene.rollout, scene.next_planner
    )
    np.testing.assert_allclose(scene.targets(weighted).kl_q, expected, rtol=1e-4)


def test_the_kl_leaves_the_target_only_as_an_option(small):
    """The option leaves Eq. (18) as it is, and trains no second Q."""
    settings = {"lam": 0.7, "prior": "replay"}
    within, without = (hypers(small(kl_in_target=option, **settings)) for option in (True, False))
    assert float(within.kl_target_weight) == pytest.approx(0.7)
    assert without.kl_target_weight == 0
    assert without == within._replace(kl_target_weight=without.kl_target_weight)
    config = small(kl_in_target=False, **settings)
    world, needed, state = agents.make(config)
    assert state.model.kl_q is None
    batch, now = agents.make_batch(config), jnp.bool_(False)
    after, _, metrics = update.update(world, state, batch, needed, now)
    assert "kl_value_loss" not in metrics
    # The model learns what it would with λ = 0, and the policy climbs Q^π_s.
    alone = needed._replace(prior=False, kl=False, reanalyse="", policy=False)
    expected, _, _ = update.update(world, state, batch, alone, now)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7),
        after.model,
        expected.model,
    )
    moved = state._replace(
        model=state.model._replace(q=jax.tree.map(lambda leaf: 3.0 * leaf, state.model.q))
    )
    other, _, _ = update.update(world, moved, batch, needed, now)
    assert float(other.scales.value) != pytest.approx(float(after.scales.value), rel=1e-3)


def test_world_model_and_value_losses_eq_14_and_16(scene):
    q_target = scene.oracle_targets(oracle.td_targets)
    targets = update_model.TDTargets(jnp.float32(q_target), jnp.float32(q_target * 0.5 - 1))
    ours = update_model.model_losses(
        scene.world, scene.state.model, scene.batch, scene.rollout, targets, None
    )
    batch = scene.batch
    expected = oracle.world_model_losses(
        scene.params, batch.observation, batch.action, batch.reward, targets.q, batch.mask,
        scene.settings,
    )  # fmt: skip
    latents = oracle.rollout(scene.params, batch.observation[0], batch.action, scene.settings)
    expected["kl_value"] = oracle.value_loss(
        scene.params["q_kl"], latents, batch.action, targets.kl_q, batch.mask, scene.settings
    )
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("scale", [0.2, 30.0])
def test_prior_loss_eq_12_and_13(scene, direction, scale):
    gaussian = scene.world.policy(scene.state.prior, scene.rollout.latents[:-1])
    raw = losses.prior_loss(gaussian, scene.planner, jnp.float32(direction == "forward"))
    ours = losses.discounted_mean(
        update_policy.scaled(raw, jnp.float32(scale)), scene.batch.mask, scene.config.time_discount
    )
    expected = oracle.prior_loss(
        scene.params, scene.rollout.latents, *scene.planner, scale, direction, scene.batch.mask,
        scene.settings,
    )  # fmt: skip
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


@pytest.mark.parametrize("lam", [0.0, 0.7, 9.0, np.inf])
@pytest.mark.parametrize("scales", [(0.3, 0.5), (25.0, 60.0)])
def test_policy_loss_eq_18(scene, small, lam, scales):
    weights = hypers(small(lam=lam))
    latents = scene.rollout.latents[:-1]
    sample = update_policy.sample_policy(
        scene.world, scene.state.policy, scene.pair(scene.state.model.kl_q), latents, scene.noise
    )
    kept = scene.state.scales._replace(kl=jnp.float32(scales[0]), value=jnp.float32(scales[1]))
    terms = update_policy.policy_terms(
        scene.world, sample, scene.planner, kept, scene.batch, scene.parts
    )
    loss = losses.policy_loss(terms, weights)
    ours = losses.discounted_mean(loss, scene.batch.mask, scene.config.time_discount)
    expected = oracle.policy_loss(
        scene.params, latents, *scene.planner, scene.noise, PAIR, lam, *scales,
        scene.config.entropy_coef, scene.batch.mask, scene.settings,
    )  # fmt: skip
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_lambda_zero_is_the_objective_of_tdmpc2(scene, small):
    """-Q / S - α A H alone: neither the prior nor its scale can change it."""
    config = small(lam=0.0)
    weights, own = hypers(config), parts(config)
    sample = update_policy.sample_policy(
        scene.world, scene.state.policy, scene.state.model.q, scene.rollout.latents[:-1],
        scene.noise,
    )  # fmt: skip
    scales = scene.state.scales._replace(kl=jnp.float32(5.0), value=jnp.float32(3.0))
    shifted = Gaussian(scene.planner.mean + 1, scene.planner.std * 2)
    first, second = (
        losses.policy_loss(
            update_policy.policy_terms(scene.world, sample, planner, scales, scene.batch, own),
            weights,
        )
        for planner in (scene.planner, shifted)
    )
    np.testing.assert_array_equal(first, second)
    std = np.asarray(sample.gaussian.std, float)
    bonus = 1e-4 * 2 * (np.log(std) + 0.5 * np.log(2 * np.pi * np.e)).sum(-1)
    np.testing.assert_allclose(first, -np.asarray(sample.value) / 3 - bonus, rtol=1e-5)
    value_only = dict.fromkeys(Parts._fields, False) | {
        "value": True,
        "policy": True,
        "reanalyse": "",
        "imagined": "",
    }
    assert own == Parts(**value_only)


def test_lambda_infinite_with_replay_is_the_objective_of_bmpc(scene, small):
    """Only KL[π_s ‖ stored planner] is left; no value can change the gradient."""
    config = small(lam=np.inf, prior="replay")
    weights, own = hypers(config), parts(config)
    needed = dict.fromkeys(Parts._fields, False) | {
        "kl": True,
        "policy": True,
        "reanalyse": "before",
        "imagined": "",
    }
    assert own == Parts(**needed)

    def loss(policy, value):
        gaussian = scene.world.policy(policy, scene.rollout.latents[:-1])
        sample = update_policy.PolicySample(gaussian, gaussian.mean, value, jnp.zeros_like(value))
        scales = scene.state.scales._replace(kl=jnp.float32(2.0), value=jnp.float32(1.0))
        terms = update_policy.policy_terms(
            scene.world, sample, scene.planner, scales, scene.batch, own
        )
        return losses.policy_loss(terms, weights).sum()

    small, large = (
        jax.grad(loss)(scene.state.policy, jnp.full(scene.batch.reward.shape, value))
        for value in (0.0, 1e6)
    )
    jax.tree.map(np.testing.assert_array_equal, small, large)
    raw = scene.policy_kl(np.asarray(scene.rollout.latents[:-1]), scene.planner)
    ours = loss(scene.state.policy, jnp.zeros(scene.batch.reward.shape))
    np.testing.assert_allclose(ours, raw.sum() / 2, rtol=1e-4)


def test_gradients_stay_where_they_belong(scene):
    """Prior and policy steps move nothing else; the model's step moves neither of them."""
    world, state, batch, rollout = scene.world, scene.state, scene.batch, scene.rollout
    after, _ = update_policy.step_prior(world, state, batch, rollout, scene.planner)
    assert _changed(state, after) == {"prior", "optimizers", "scales"}
    after, _ = update_policy.step_policy(world, state, batch, scene.inputs(), scene.parts)
    assert _changed(state, after) == {"policy", "optimizers", "scales"}
    kl = update_policy.weighted_target_kl(world, state, rollout, scene.next_planner)
    after, _ = update_model.step_model(world, state, batch, rollout, kl, jax.random.PRNGKey(0))
    assert _changed(state, after) == {"model", "optimizers", "targets"}


def _changed(before, after):
    def differs(name):
        pairs = zip(
            jax.tree.leaves(getattr(before, name)), jax.tree.leaves(getattr(after, name)),
            strict=True,
        )  # fmt: skip
        return any(not np.array_equal(a, b) for a, b in pairs)

    return {name for name in before._fields if differs(name)}


def test_kl_value_reaches_the_model_only_as_an_option(small):
    """With the option off, J(θ̃_Q) leaves encoder and dynamics alone."""
    for option in (True, False):
        config = small(lam=0.7, kl_value_trains_model=option)
        world, _, state = agents.make(config)
        batch = agents.make_batch(config)
        rollout = make_rollout(world, state.model, batch)
        targets = update_model.TDTargets(batch.reward, batch.reward)

        def loss(model, world=world, batch=batch, rollout=rollout, targets=targets):
            return update_model.model_losses(world, model, batch, rollout, targets, None)[
                "kl_value"
            ]

        gradient = jax.grad(loss)(state.model)
        largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient.dynamics))
        assert (largest > 0) == option
        assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient.kl_q)) > 0


def test_one_scale_serves_both_kl_terms_and_moves_once(scene):
    state = scene.state._replace(scales=scene.state.scales._replace(kl=jnp.float32(0.0)))
    after, _, metrics = update.update(
        scene.world, state, scene.batch, scene.parts, jnp.bool_(False)
    )
    stepped, _ = update_policy.step_prior(
        scene.world, state, scene.batch, scene.rollout, scene.planner
    )
    first = update_policy.policy_kl(
        scene.world, stepped, scene.rollout.latents[:-1], scene.planner
    )[0]
    np.testing.assert_allclose(after.scales.kl, oracle.percentile_range(first), rtol=1e-4)
    assert metrics["scale_kl"] == after.scales.kl


def test_padding_does_not_count(scene):
    """What stands behind the end of an episode changes no loss."""

    def total(batch):
        _, _, metrics = update.update(
            scene.world, scene.state, batch, scene.parts, jnp.bool_(False)
        )
        return {k: v for k, v in metrics.items() if k.endswith("_loss")}

    mask = np.asarray(scene.batch.mask)
    reward = np.where(mask > 0, scene.batch.reward, 1e3).astype(np.float32)
    first, second = total(scene.batch), total(scene.batch._replace(reward=jnp.asarray(reward)))
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-5, err_msg=name)


def test_first_policy_step_is_adam_s(scene):
    """The first policy step is Adam's: its learning rate times the sign of each gradient."""
    world, state, batch = scene.world, scene.state, scene.batch
    after, metrics = update_policy.step_policy(world, state, batch, scene.inputs(), scene.parts)
    assert metrics["policy_grad_norm"] > 0
    moved = np.concatenate([
        np.ravel(np.asarray(b, float) - np.asarray(a, float))
        for a, b in zip(jax.tree.leaves(state.policy), jax.tree.leaves(after.policy), strict=True)
    ])  # fmt: skip
    assert np.abs(moved).max() == pytest.approx(world.config.learning_rate, rel=1e-2)
