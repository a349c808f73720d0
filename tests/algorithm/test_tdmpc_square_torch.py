"""TD-M(PC)²'s own torch code beside `tdmpc_square`: its policy's gradient on the same numbers.

Where it can be imported: `PYTHONPATH` with the folder `tdmpc_square` of its checkout (d1c2632) and
torch. The losses differ by a constant: its log density takes log 2π / 2 off once, not A times.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import agents
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pompc.algorithm import losses, update_policy
from pompc.algorithm.loss_weights import hypers, parts
from pompc.algorithm.losses import over_time
from pompc.algorithm.maths import Gaussian, squash_log_slope
from pompc.algorithm.world_model import WorldModel

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("tdmpc_square.tdmpc_square")
math = pytest.importorskip("tdmpc_square.common.math")
RunningScale = pytest.importorskip("tdmpc_square.common.scale").RunningScale

pytestmark = pytest.mark.filterwarnings("default")  # torch's own
TOLERANCE = {"rtol": 1e-5, "atol": 1e-7}


class Model:
    """Their world model, whose policy and value are functions of the numbers of a test."""

    def __init__(self, mean: Any, log_std: Any, noise: Any, slope: Any) -> None:
        self._pi = torch.nn.ParameterList([mean, log_std])
        self.noise, self.slope = noise, slope

    def pi(self, zs: Any, task: Any) -> tuple[Any, ...]:
        mean, log_std = self._pi
        log_density = math.gaussian_logprob(self.noise, log_std)
        _, action, log_density = math.squash(mean, mean + self.noise * log_std.exp(), log_density)
        return mean, action, log_density, log_std

    def Q(self, zs: Any, action: Any, task: Any, return_type: str) -> Any:  # noqa: N802
        return (self.slope * action - action**2).sum(dim=-1, keepdim=True)

    def track_q_grad(self, mode: bool) -> None:
        pass


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_the_gradient_of_the_policy_is_that_of_the_torch_code(small, scale: float):
    """Once before S_Q is above 2, where there is no term of the planner, and once after."""
    config = small(method="tdmpc_square", entropy_coef=0.1, cross_entropy_coef=0.7)
    world = WorldModel(config, agents.OBSERVATIONS, agents.ACTIONS)
    shape = (config.horizon, config.batch_size, agents.ACTIONS)
    rng = np.random.default_rng(0)
    mean, log_std, noise, planned, slope = (
        0.5 * rng.normal(size=shape).astype(np.float32) for _ in range(5)
    )
    std = rng.uniform(config.min_plan_std, 1.0, shape).astype(np.float32)
    slope = 3 * scale * slope

    def loss(mean: Any, log_std: Any, scales: Any) -> Any:
        gaussian = Gaussian(mean, jnp.exp(log_std))
        action = world.sample_action(gaussian, noise)
        value = jnp.sum(slope * action - action**2, axis=-1)
        sample = update_policy.PolicySample(gaussian, action, value, squash_log_slope(action))
        terms = update_policy.policy_terms(
            world, sample, Gaussian(planned, std), scales, agents.make_batch(config), parts(config)
        )
        total = losses.policy_loss(terms, hypers(config))
        return over_time(config, total, jnp.ones(shape[:2]))

    settings = SimpleNamespace(
        actor_mode="residual", multitask=False, min_std=config.min_plan_std, tau=0.0,
        scale_threshold=2.0, entropy_coef=0.1, prior_coef=0.7, rho=config.time_discount,
        grad_clip_norm=1e9, action_dim=agents.ACTIONS,
    )  # fmt: skip
    model = Model(
        *(torch.nn.Parameter(torch.tensor(one)) for one in (mean, log_std)),
        torch.tensor(noise), torch.tensor(slope),
    )  # fmt: skip
    running = RunningScale(settings)
    running._value.fill_(scale)
    agent = SimpleNamespace(
        cfg=settings, model=model, device="cpu", scale=running,
        pi_optim=SimpleNamespace(zero_grad=lambda set_to_none: None, step=lambda: None),
    )  # fmt: skip
    latents = torch.zeros((*shape[:2], 1))
    theirs.TDMPC2.update_pi(agent, latents, None, torch.tensor(planned), torch.tensor(std), None)

    _, _, state = agents.make(config)
    scales = state.scales._replace(value=jnp.float32(scale))
    ours = jax.grad(loss, argnums=(0, 1))(mean, log_std, scales)
    for mine, other in zip(ours, model._pi, strict=True):
        np.testing.assert_allclose(mine, other.grad.numpy(), **TOLERANCE)
    assert np.abs(ours[0]).max() > 1e-3
