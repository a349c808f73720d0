"""One agent: how it starts, plans, acts and ends an episode (Algorithm 2, lines 3 to 8)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm.loss_weights import Hypers, Parts
from pompc.algorithm.maths import Gaussian, running
from pompc.algorithm.networks import Params
from pompc.algorithm.optimizers import Optimizers, init_optimizers
from pompc.algorithm.planner import Plan, choose_action, draw_noise, plan, stored_policy
from pompc.algorithm.world_model import ModelParams, WorldModel

ELITES_RATE = 0.01  # weight of the newest plan in `AgentState.from_policy`


class TargetParams(NamedTuple):
    """Slowly moving copies θ⁻ of the two ensembles."""

    q: Params
    kl_q: Params | None


class Scales(NamedTuple):
    """Running percentile ranges S_p, S_KL and S_Q, and a mean; 0 before the first batch."""

    prior: Array
    kl: Array
    value: Array
    value_slope: Array | None  # g of `losses.value_slope`, where λ follows from a budget


class Elites(NamedTuple):
    """The best trajectories of `R` plans, on which Q learns."""

    observation: Array  # [R, O]: where they were planned
    actions: Array  # [H, R, K, A]
    fresh: Array  # bool: no update has seen them yet


class AgentState(NamedTuple):
    """Everything of one agent but its replay buffer."""

    key: Array
    hypers: Hypers
    model: ModelParams
    targets: TargetParams
    policy: Params  # π_s
    prior: Params | None  # π_θp, where it is learned
    prior_average: Params | None  # running average of its weights, where the policy reads that
    optimizers: Optimizers
    scales: Scales
    plan_mean: Array  # [H, A]: the previous plan, zeros at the start of an episode
    from_policy: Array  # running share of the plans' elites that the policy proposed
    elites: Elites | None  # of the newest decision's plan, where Q learns on those


class Actor(NamedTuple):
    """What an agent acts with: a few of its arrays, since each takes time to hand to a program."""

    key: Array
    model: ModelParams  # without Q^λ
    policy: Params
    plan_mean: Array
    from_policy: Array
    elites: Elites | None


class Memory(NamedTuple):
    """What acting changes in an agent."""

    key: Array
    plan_mean: Array
    from_policy: Array
    elites: Elites | None


class Choice(NamedTuple):
    """What one decision leaves in the buffer besides what was seen."""

    action: Array  # [A]
    planner: Gaussian  # [A]: π_P there


def init(world: WorldModel, key: Array, hypers: Hypers, parts: Parts) -> AgentState:
    """Return the untrained agent."""
    model_key, policy_key, prior_key, key = jax.random.split(key, 4)
    model = world.init_model(model_key, parts.kl_value)
    policy = world.init_policy(policy_key)
    prior = world.init_policy(prior_key, parts.components) if parts.prior else None
    start = jnp.float32(world.config.scale_start)
    return AgentState(
        key=key,
        hypers=jax.tree.map(jnp.asarray, hypers),
        model=model,
        targets=TargetParams(*jax.tree.map(jnp.copy, (model.q, model.kl_q))),
        policy=policy,
        prior=prior,
        prior_average=jax.tree.map(jnp.copy, prior) if parts.prior_average else None,
        optimizers=init_optimizers(world.config, model, policy, prior),
        scales=Scales(start, start, start, jnp.float32(0.0) if parts.budget else None),
        plan_mean=jnp.zeros((world.config.horizon, world.action_dim)),
        from_policy=jnp.float32(0.0),
        elites=no_elites(world, 1) if parts.imagined == "acting" else None,
    )


def actor(state: AgentState) -> Actor:
    """Return what an agent acts with."""
    model = state.model._replace(kl_q=None)
    return Actor(state.key, model, state.policy, state.plan_mean, state.from_policy, state.elites)


def no_elites(world: WorldModel, plans: int) -> Elites:
    """Return what stands for the elites of so many plans where none was made."""
    config, actions = world.config, world.action_dim
    return Elites(
        jnp.zeros((plans, world.observation_dim)),
        jnp.zeros((config.horizon, plans, config.elites, actions)),
        jnp.bool_(False),
    )


def make_plan(
    world: WorldModel,
    state: Actor | AgentState,
    key: Array,
    latent: Array,
    previous_mean: Array,
    log_std_min: float | None = None,
) -> Plan:
    """Plan from a latent `[Z]` with this agent's model, policy and Q^π_s."""
    heads_key, noise_key, _ = jax.random.split(key, 3)
    heads = world.draw_heads(heads_key, state.model.q, world.config.planner_heads)
    model = world.planning_model(state.model, state.policy, heads, log_std_min)
    noise = draw_noise(noise_key, world.action_dim, world.config)
    return plan(model, latent, previous_mean, noise, world.config)


def stored_plan(world: WorldModel, made: Plan, key: Array) -> Gaussian:
    """Return what is stored, `[A]`, of a plan made with `key` where no action is taken."""
    elite_key = jax.random.split(key, 3)[2]  # `make_plan` uses the other two
    return stored_policy(made, elite_key, world.config.clone_mean)


def act(world: WorldModel, state: Actor, observation: Array) -> tuple[Memory, Choice]:
    """Plan at `observation [O]` (Algorithm 2, lines 3 to 6)."""
    key, plan_key, action_key = jax.random.split(state.key, 3)
    latent = world.encode(state.model.encoder, observation)
    made = make_plan(world, state, plan_key, latent, state.plan_mean)
    action = choose_action(made, action_key, world.config.training_action, explore=True)
    planner = stored_policy(made, action_key, world.config.clone_mean)
    from_policy = running(state.from_policy, made.from_policy, ELITES_RATE)
    elites = state.elites
    if elites is not None:
        elites = Elites(observation[None], made.elites[:, None], jnp.bool_(True))
    return Memory(key, made.mean, from_policy, elites), Choice(action, planner)


def act_seeding(world: WorldModel, state: Actor, observation: Array) -> tuple[Memory, Choice]:
    """Act before any learning (B.4): no plan; N(0, σ_max²) is stored in its place."""
    key, noise_key = jax.random.split(state.key)
    if world.config.seeding == "uniform":
        action = jax.random.uniform(noise_key, (world.action_dim,), minval=-1.0, maxval=1.0)
    else:
        latent = world.encode(state.model.encoder, observation)
        noise = jax.random.normal(noise_key, (world.action_dim,))
        action = world.sample_action(world.policy(state.policy, latent), noise)
    memory = Memory(key, state.plan_mean, state.from_policy, state.elites)
    return memory, Choice(action, _uninformed(world))


def end_episode(
    world: WorldModel, state: Actor, observation: Array, done: Array
) -> tuple[Memory, Gaussian]:
    """Plan at the last observation of an episode, if `done`, and forget its plan.

    Eq. (17) needs the planner at z' also where an episode was truncated.
    """
    key, plan_key = jax.random.split(state.key)
    latent = world.encode(state.model.encoder, observation)
    made = make_plan(world, state, plan_key, latent, state.plan_mean)
    return _restart(state, key, done), stored_plan(world, made, plan_key)


def end_seeding_episode(
    world: WorldModel, state: Actor, observation: Array, done: Array
) -> tuple[Memory, Gaussian]:
    """Do the same before any learning: nothing is planned."""
    del observation
    return _restart(state, jax.random.split(state.key)[0], done), _uninformed(world)


def abandon_episode(state: Actor, failed: Array) -> Memory:
    """Forget the plan of an episode that was discarded, if `failed`."""
    return _restart(state, state.key, failed)


def _restart(state: Actor, key: Array, done: Array) -> Memory:
    mean = jnp.where(done, 0.0, state.plan_mean)
    return Memory(jnp.where(done, key, state.key), mean, state.from_policy, state.elites)


def evaluation_action(
    world: WorldModel, state: Actor, key: Array, observation: Array, previous_mean: Array
) -> tuple[Array, Array]:
    """Return the planner's action `[A]` without exploration noise, and the plan's mean `[H, A]`."""
    plan_key, action_key = jax.random.split(key)
    latent = world.encode(state.model.encoder, observation)
    made = make_plan(world, state, plan_key, latent, previous_mean)
    how = world.config.evaluation_action
    return choose_action(made, action_key, how, explore=False), made.mean


def policy_action(world: WorldModel, state: Actor, observation: Array) -> Array:
    """Return the mean action `[A]` of the sampling policy alone."""
    latent = world.encode(state.model.encoder, observation)
    return world.mean_action(world.policy(state.policy, latent))


def _uninformed(world: WorldModel) -> Gaussian:
    zeros = jnp.zeros(world.action_dim)
    return Gaussian(zeros, zeros + world.config.seeding_plan_std)
