"""What an agent stores and how it learns: seeding, last observations, reanalyse, one trace."""

import functools

import agents
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pompc.algorithm import agent, update
from pompc.algorithm.loss_weights import parts
from pompc.algorithm.maths import Gaussian
from pompc.envs.vector import Feedback, Observations
from pompc.population.groups import Learners, initial_arguments, make_population, replay_rows
from pompc.population.programs import make_programs
from pompc.training import decision


@functools.cache
def _programs(config):
    population = make_population(config.agents, agents.OBSERVATIONS, agents.ACTIONS)
    return population.world, make_programs(population)


def _filled(config, episodes=3, length=30, seeding=False):
    """Return world, programs and one agent after a few episodes of random observations."""
    world, programs = _programs(config)
    learners = Learners(*programs.init(*initial_arguments(programs.population)))
    rng = np.random.default_rng(0)
    nothing, always = np.zeros(1, bool), np.ones(1, bool)
    for episode in range(episodes):
        for _ in range(length):
            seen = rng.normal(size=(1, agents.OBSERVATIONS)).astype(np.float32)
            feedback = Feedback(np.float32([0.5]), nothing, seen)
            learners, _ = decision.act(programs, learners, feedback, seeding)
        terminated = np.array([episode == 1])
        result = Observations(
            seen, seen, np.float32([1.0]), terminated, always, np.ones(1), np.array([""])
        )
        learners = decision.close_episodes(programs, learners, result, seeding)
    return world, programs, *learners


def test_seeding_stores_zero_mean_and_maximum_std(small):
    for seeding in ("policy", "uniform"):
        config = small(seeding=seeding)
        _, _, (states,), (buffers,) = _filled(config, seeding=True)
        rows = int(buffers.rows)
        assert rows == 93
        assert (np.asarray(buffers.plan.mean[:rows]) == 0).all()
        assert (np.asarray(buffers.plan.std[:rows]) == config.max_plan_std).all()
        spread = np.asarray(buffers.action[:rows]).std()
        assert (spread > 0.5) == (seeding == "uniform"), "the untrained policy barely moves"
        assert (np.asarray(states.plan_mean) == 0).all()


def test_every_row_holds_its_plan_and_the_last_one_too(small):
    config = small()
    _, _, _, (buffers,) = _filled(config)
    rows = int(buffers.rows)
    std = np.asarray(buffers.plan.std[:rows])
    assert ((std >= config.min_plan_std) & (std <= config.max_plan_std)).all()
    assert len(np.unique(std[:, 0])) > rows // 2, "plans repeat"
    last = np.flatnonzero(np.asarray(buffers.last[:rows]))
    np.testing.assert_array_equal(last, [30, 61, 92])
    assert (np.asarray(buffers.plan.mean)[last] != 0).all()


def test_an_episode_starts_without_the_previous_plan(small):
    _, _, (states,), _ = _filled(small())
    assert (np.asarray(states.plan_mean) == 0).all()


def test_pretraining_moves_model_and_q_only(small):
    config = small()
    _, programs, states, buffers = _filled(config)
    before = jax.tree.map(np.array, states[0])
    (after,), _, _ = programs.pretrain(states, buffers, np.bool_(True))
    for name in ("encoder", "dynamics", "reward", "q"):
        assert _differs(getattr(before.model, name), getattr(after.model, name)), name
    for name in ("policy", "prior", "scales"):
        assert not _differs(getattr(before, name), getattr(after, name)), name
    assert not _differs(before.model.kl_q, after.model.kl_q)
    assert not _differs(before.optimizers.kl_q, after.optimizers.kl_q), "Adam aged Q^λ"


def _differs(first, second):
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return any(not np.array_equal(a, b) for a, b in pairs)


def test_plan_std_leaves_out_what_seeding_stored(small):
    """Rows of seeding hold N(0, 4) and no plan: the metric is the mean over the others."""
    config = small()
    batch = agents.make_batch(config)
    mean, std = np.array(batch.plan.mean), np.array(batch.plan.std)
    mean[:, :3], std[:, :3] = 0.0, 2.0
    found = update.plan_std(Gaussian(jnp.asarray(mean), jnp.asarray(std)))
    assert float(found) == pytest.approx(std[:, 3:].mean(), rel=1e-5)
    assert float(update.plan_std(Gaussian(jnp.zeros_like(mean), jnp.asarray(std)))) == 0.0


def test_reanalyse_writes_fresh_plans_back_every_interval(small):
    config = small()
    _, programs, states, buffers = _filled(config)
    before = jax.tree.map(np.array, buffers[0].plan)
    states, buffers, _ = programs.update(states, buffers, np.bool_(False))
    np.testing.assert_array_equal(before.mean, buffers[0].plan.mean)
    states, (buffer,), _ = programs.update(states, buffers, np.bool_(True))
    changed = (before.mean != np.asarray(buffer.plan.mean)).any(-1).sum()
    assert 4 <= changed <= config.reanalyse_batch * config.horizon
    rows = int(buffer.rows)
    np.testing.assert_array_equal(before.mean[rows:], np.asarray(buffer.plan.mean)[rows:])


def test_reanalyse_plans_from_the_encoded_observation_without_warm_start(small):
    """Its first plan is the one made from the encoded first observation and a zero mean."""
    config = small()
    world, _, state = agents.make(config)
    state = state._replace(plan_mean=jnp.ones_like(state.plan_mean))
    batch = agents.make_batch(config)
    plans = update.reanalyse(world, state, state.model.encoder, jax.random.PRNGKey(0), batch).plans
    assert plans is not None
    assert plans.mean.shape == (config.horizon, config.reanalyse_batch, agents.ACTIONS)
    keys = jax.random.split(jax.random.PRNGKey(0), config.horizon * config.reanalyse_batch)
    for index, (t, b) in enumerate(np.ndindex(config.horizon, config.reanalyse_batch)):
        if index in (0, 7):
            latent = world.encode(state.model.encoder, batch.observation[t, b])
            cold = jnp.zeros_like(state.plan_mean)
            expected = agent.make_plan(world, state, keys[index], latent, cold)
            np.testing.assert_allclose(plans.mean[t, b], expected.mean[0], atol=1e-5)
            np.testing.assert_allclose(plans.std[t, b], expected.std[0], atol=1e-5)


def test_the_elite_that_is_stored_is_drawn_by_a_key_of_its_own(small, monkeypatch):
    keys = {}
    for name, position in (("draw_noise", 0), ("stored_policy", 1)):
        original = getattr(agent, name)

        def watched(*arguments, _original=original, _name=name, _at=position):
            keys[_name] = arguments[_at]
            return _original(*arguments)

        monkeypatch.setattr(agent, name, watched)
    world, _, state = agents.make(small(clone_mean="elite"))
    latent = jnp.full(world.config.latent_dim, 0.1)
    key = jax.random.PRNGKey(0)
    made = agent.make_plan(world, state, key, latent, state.plan_mean)
    agent.stored_plan(world, made, key)

    def descendants(key):
        own = [key, *jax.random.split(key, 3)]
        return {tuple(np.asarray(one)) for one in own}

    assert not descendants(keys["draw_noise"]) & descendants(keys["stored_policy"])


def test_update_and_act_trace_once(small, monkeypatch):
    counts = {"update": 0, "act": 0}
    for module, name in ((update, "update"), (agent, "act")):
        original = getattr(module, name)

        def counted(*arguments, _original=original, _name=name, **named):
            counts[_name] += 1
            return _original(*arguments, **named)

        monkeypatch.setattr(module, name, counted)
    _, programs, states, buffers = _filled(small(discount=0.98))
    assert programs.pretrain_metric_names() != programs.metric_names()
    for number in range(12):
        states, buffers, _ = programs.update(states, buffers, np.bool_(number % 10 == 9))
    assert counts == {"update": 2, "act": 1}, "pretraining is an update with fewer parts"


@pytest.mark.parametrize(
    ("lam", "prior", "absent"),
    [(0.0, "reverse_kl", {"kl_value", "prior", "kl"}), (np.inf, "replay", {"kl_value", "prior"})],
)
def test_what_an_agent_does_not_use_is_not_there(small, lam, prior, absent):
    _, programs, (states,), _ = _filled(small(lam=lam, prior=prior))
    names = set(programs.metric_names()[0])
    assert ("kl_value_loss" in names) == ("kl_value" not in absent)
    assert ("prior_loss" in names) == ("prior" not in absent)
    assert ("kl_mean" in names) == ("kl" not in absent)
    assert (states.prior is None) == ("prior" in absent)
    assert states.model.kl_q is None


def test_evaluation_action_ignores_exploration_noise(small):
    config = small(evaluation_action="mean")
    world, _, state = agents.make(config)
    key, seen = jax.random.PRNGKey(0), jnp.ones(agents.OBSERVATIONS)
    cold = jnp.zeros((config.horizon, agents.ACTIONS))
    action, mean = agent.evaluation_action(world, state, key, seen, cold)
    np.testing.assert_allclose(action, np.clip(mean[0], -1, 1))


def test_replay_rows_hold_a_whole_run(small):
    assert replay_rows(small(steps=40_000)) >= 20_000 + 20_000 // 500 + 1


def test_target_networks_follow_slowly(small):
    config = small(target_rate=0.25)
    world, _, state = agents.make(config)
    batch = agents.make_batch(config)
    after, _, _ = update.update(world, state, batch, parts(config), jnp.bool_(False))
    leaf = "output"
    old, new = state.targets.q[leaf]["bias"], after.model.q[leaf]["bias"]
    np.testing.assert_allclose(after.targets.q[leaf]["bias"], old + 0.25 * (new - old), rtol=1e-5)
