"""Learning curves of public implementations: `python -m pompc.bench.peer_runs --help`.

Networks, planner, losses and replay are the peer's; environment, evaluation, hyper-parameters,
seeding and the ratio of updates to decisions are ours, so that what is left to differ is its code.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from pompc import runs, runtime
from pompc.bench import peers
from pompc.bench.peers import Peer
from pompc.envs import make_vector
from pompc.errors import ConfigError, said_by_command
from pompc.runs import files
from pompc.settings.config import Config
from pompc.training import progress
from pompc.training.evaluation import evaluation_seeds, first_episodes, training_seed

# Peer -> the method that it stands for.
_OURS = {"tdmpc2_jax": "tdmpc2", "bmpc_jax": "bmpc_jax", "bmpc_torch": "bmpc"}


def train(name: str, config: Config, run_dir: Path) -> None:
    """Train a peer and write `returns.csv`, `settings.json` and `provenance.json` into `run_dir`.

    Raise ConfigError if the peer cannot be imported or the folder holds a run.
    """
    if (run_dir / "returns.csv").exists():
        raise ConfigError(f"{str(run_dir)!r} holds a run: choose another --run-dir")
    runtime.configure(config.matmul_precision)
    started, seed = time.perf_counter(), training_seed(config)
    with make_vector(config.task, [seed]) as vector:
        peer = peers.load(name, config, vector.observation_dim, vector.action_dim)
        if peer is None:
            raise ConfigError(f"{name} cannot be imported: put its checkout on PYTHONPATH")
        run_dir.mkdir(parents=True, exist_ok=True)
        files.write_text(run_dir / "settings.json", config.to_json())
        facts = {"peer": name, "preset": config.preset, "steps": config.steps, **runtime.describe(),
                 **{package: version(package) for package in peer.packages}}  # fmt: skip
        runs.write_provenance(run_dir, facts)
        rng, observation = np.random.default_rng(seed), vector.reset()
        for decision in range(config.decisions):
            if decision * config.action_repeat % config.evaluate_every == 0:
                _record(peer, config, decision, started, run_dir)
            seeding = decision < config.seeding_decisions
            noise = rng.uniform(-1, 1, (1, vector.action_dim)).astype(np.float32)
            action = noise if seeding else peer.act(observation, train=True)
            observation = peers.step(peer, vector, observation, action)
            _update(peer, config, decision)
        _record(peer, config, config.decisions, started, run_dir)
    runs.write_provenance(run_dir, facts | {"wall_s": round(time.perf_counter() - started, 1)})


def _update(peer: Peer, config: Config, decision: int) -> None:
    """Update once a decision, and at the end of seeding as often as was seeded."""
    last_of_seeding = config.seeding_decisions - 1
    if decision < last_of_seeding:
        return
    pretrain = decision == last_of_seeding
    for number in range(config.seeding_decisions if pretrain else 1):
        count = number if pretrain else decision
        peer.update(count % config.reanalyse_interval == 0, pretrain)


def _record(peer: Peer, config: Config, decision: int, started: float, run_dir: Path) -> None:
    """Evaluate without noise, in environments of their own; add a row to `returns.csv`."""
    seeds = np.array([evaluation_seeds(config, config.evaluation_episodes)])
    peer.begin_episode()
    with make_vector(config.task, [int(seed) for seed in seeds.flat]) as vector:
        made = first_episodes(vector, lambda seen, _: peer.act(seen[0], train=False)[None], seeds)
    peer.begin_episode()
    found, step = round(float(made.returns.mean()), 3), decision * config.action_repeat
    seconds = round(time.perf_counter() - started, 1)
    row = {"task": config.task, "peer": peer.name, "method": config.method, "lam": config.lam,
           "prior": config.prior, "seed": config.seed, "env_step": step, "decision": decision,
           "return": found, "wall_s": seconds}  # fmt: skip
    runs.append_rows(run_dir / "returns.csv", [row])
    print(f"{step:,} of {config.steps:,} environment steps: return {found}, "
          f"{progress.duration(seconds)}", flush=True)  # fmt: skip


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m pompc.bench.peer_runs", description=__doc__)
    parser.add_argument("peer", choices=_OURS)
    parser.add_argument("--task", default="walker-run", help="any task of pompc.make_env")
    parser.add_argument("--preset", default="laptop", help="paper or laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps")
    parser.add_argument("--evaluate-every", type=int, default=20_000, metavar="STEPS")
    parser.add_argument("--run-dir", type=Path, help="by default runs/peers/PEER-TASK-SEED")
    return parser.parse_args(values)


def main(values: Sequence[str]) -> None:
    """Train the peer that the command line names."""
    given = _arguments(values)
    default = runs.ROOT / "runs" / "peers" / f"{given.peer}-{given.task}-{given.seed}"
    with said_by_command():
        config = Config(
            given.task, method=_OURS[given.peer], preset=given.preset, seed=given.seed,
            steps=given.steps, evaluate_every=given.evaluate_every,
        )  # fmt: skip
        train(given.peer, config, given.run_dir or default)


if __name__ == "__main__":
    main(sys.argv[1:])
