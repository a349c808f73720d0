"""BMPC's own torch code at our hyper-parameters, on a CPU, for `python -m pompc.bench.peer_runs`.

Imported where its modules are: `PYTHONPATH` with the folder `bmpc` of its checkout, and the
packages `torch`, `torchrl` and `tensordict`; nothing of it is part of this project.
"""

import importlib
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from pompc.settings.config import Config


class BmpcTorch:
    """BMPC's agent and buffer, which a `pompc.bench.peers.Peer` drives."""

    name = "bmpc_torch"
    packages = "torch", "torchrl", "tensordict"

    def __init__(self, config: Config, observation_dim: int, action_dim: int) -> None:
        """Make both; ImportError where a package or module is missing."""
        self._torch = torch = importlib.import_module("torch")
        self._dict = importlib.import_module("tensordict").TensorDict
        modules = [importlib.import_module(m) for m in ("bmpc", "common.scale", "common.buffer")]
        for module in modules:
            module.__dict__["torch"] = _OnCpu(torch)
        # Its networks are there already, and current torch moves none that share their weights.
        modules[0].WorldModel.to = lambda model, _: model
        torch.manual_seed(config.seed)
        settings = _settings(config, observation_dim, action_dim)
        self._agent, self._buffer = modules[0].BMPC(settings), modules[2].Buffer(settings)
        for optimizer in (self._agent.optim, self._agent.pi_optim):
            for parameters in optimizer.param_groups:
                parameters["capturable"] = False  # for a GPU's graphs
        self._horizon, self._action_dim = config.horizon, action_dim
        self._rows = list[Any]()  # of the present episode, which its buffer takes whole
        self._planned: Any = None
        self._begins = True

    def act(self, observation: np.ndarray, train: bool) -> np.ndarray:
        """Plan from observations `[N, O]`; return actions `[N, A]`, with noise if `train`."""
        count = len(observation)
        if self._begins:
            plan = self._torch.zeros(count, self._horizon, self._action_dim)
            self._agent._prev_mean = self._torch.nn.Buffer(plan)
        with self._torch.no_grad():
            action, self._planned = self._agent.plan(
                self._torch.as_tensor(observation), batch_size=count, t0=self._begins,
                eval_mode=not train, horizon=self._horizon,
            )  # fmt: skip
        self._begins = False
        return action.numpy()

    def begin_episode(self) -> None:
        """Forget the previous plan, which the next one would start from."""
        self._begins, self._planned = True, None

    def insert(self, transition: dict[str, np.ndarray]) -> None:
        """Keep a transition, leading axis 1, with its plan; store its episode once it has ended."""
        values = {name: self._torch.as_tensor(value) for name, value in transition.items()}
        if not self._rows:
            nothing = (values[name] * float("nan") for name in ("action", "reward"))
            self._rows.append(self._row(values["observation"], *nothing))
        row = self._row(values["next_observation"], values["action"], values["reward"])
        self._rows.append(row)
        if bool(transition["terminated"][0] or transition["truncated"][0]):
            self._buffer.add(self._torch.cat(self._rows))
            self._rows = []

    def _row(self, observation: Any, action: Any, reward: Any) -> Any:
        """Return one row of its buffer: an observation, and what led there."""
        unknown = self._torch.full((1, 2 * self._action_dim), float("nan"))
        planned = self._planned if len(self._rows) else None
        fields = {
            "obs": observation, "action": action, "reward": reward,
            "expert_action_dist": unknown if planned is None else planned["action_dist"],
            "expert_value": unknown[:, 0] if planned is None else planned["action_value"][:, 0],
        }  # fmt: skip
        return self._dict(fields, batch_size=(1,))

    def update(self, reanalyse_now: bool = False, pretrain: bool = False) -> Any:
        """Update everything once as its training script does; return what to wait for.

        It counts by itself when to reanalyse.
        """
        del reanalyse_now
        return self._agent.update(self._buffer, pretrain)


class _OnCpu(ModuleType):
    """The module `torch`, whose devices are all the CPU: the code names a GPU throughout."""

    def __init__(self, torch: Any) -> None:
        super().__init__("torch")
        self._torch = torch
        self.cuda = SimpleNamespace(mem_get_info=lambda: (0, 0))

    def device(self, *_: Any) -> Any:
        return self._torch.device("cpu")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)


def _settings(config: Config, observation_dim: int, action_dim: int) -> SimpleNamespace:
    """Return its configuration."""
    spacing = (config.symlog_max - config.symlog_min) / (config.bins - 1)
    return SimpleNamespace(
        # Environment and task
        multitask=False, task_dim=0, obs="state", obs_shape={"state": (observation_dim,)},
        action_dim=action_dim, episode_length=1, steps=config.decisions,
        buffer_size=config.buffer_size, discount_denom=1, discount_min=config.discount,
        discount_max=config.discount,
        # Networks
        num_enc_layers=config.encoder_layers, enc_dim=config.encoder_dim,
        latent_dim=config.latent_dim, mlp_dim=config.hidden_dim, num_q=config.value_nets,
        dropout=config.dropout, num_bins=config.bins, vmin=config.symlog_min,
        vmax=config.symlog_max, bin_size=spacing, simnorm_dim=config.simnorm_dim,
        log_std_min=config.log_std_min, log_std_max=config.log_std_max,
        # Planning; it adds two iterations by itself for many actions
        mpc=True, horizon=config.horizon, num_samples=config.plan_samples,
        iterations=config.mppi_iterations - 2 * (action_dim >= 20), num_elites=config.elites,
        num_pi_trajs=config.policy_samples, min_std=config.min_plan_std,
        max_std=config.max_plan_std, temperature=1 / config.temperature,
        # Learning
        bmpc=True, use_v_instead_q=True, td_horizon=1, compile=False,
        batch_size=config.batch_size, lr=config.learning_rate,
        enc_lr_scale=config.encoder_learning_rate / config.learning_rate,
        grad_clip_norm=config.max_grad_norm, tau=config.target_rate, rho=config.time_discount,
        consistency_coef=config.consistency_coef, reward_coef=config.reward_coef,
        value_coef=config.value_coef, entropy_coef=config.entropy_coef,
        reanalyze_interval=config.reanalyse_interval, reanalyze_horizon=config.horizon,
        reanalyze_batch_size=config.reanalyse_batch, expl_log_std_min=-2, expl_log_std_max=1,
    )  # fmt: skip
