"""A trained agent from its run: single actions, evaluations, videos."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pompc import envs, runs, runtime
from pompc.algorithm.agent import AgentState
from pompc.envs import video
from pompc.errors import ConfigError, VideoError
from pompc.population.groups import Group, Population, actors, initial_arguments, make_population
from pompc.population.programs import make_programs
from pompc.runs import checkpoint, stored_agents
from pompc.runs.folder import read_config, write_config, write_provenance
from pompc.settings.config import Config
from pompc.training.evaluation import Evaluator


class Agent:
    """A trained agent of `load_agent`, which plans anew at each single observation."""

    def __init__(self, group: Group, state: AgentState) -> None:
        self.config, self._actors = group.agents[0], actors((state,))
        self._programs = make_programs(Population((group,)))
        self._world = group.world
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Start an episode: forget the previous plan; `seed` draws the elites."""
        shape = (1, 1, self.config.horizon, self._world.action_dim)
        self._mean, self._key = jnp.zeros(shape), jax.random.PRNGKey(seed)

    def act(self, observation: np.ndarray, planner: bool = True) -> np.ndarray:
        """Return the action `[A]` in [-1, 1] at an observation `[O]` of `pompc.make_env`.

        Without the `planner` it is that of the sampling policy π_s alone. Raise ValueError if the
        observation has another shape, or holds numbers that the networks cannot take, such as NaN
        or 1e30; the plan before it is kept.
        """
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            seen = np.asarray(observation, np.float32)
        if seen.shape != (expected := (self._world.observation_dim,)):
            raise ValueError(f"the observation has shape {seen.shape}, not {expected}")
        key, mean = self._key, self._mean
        if planner:
            key, own = jax.random.split(key)
            action, mean = self._programs.evaluation_actions(
                self._actors, own[None, None], seen[None, None], mean
            )
        else:
            action = self._programs.policy_actions(self._actors, seen[None, None])
        found = np.asarray(action[0, 0])
        for values in (seen, found, np.asarray(mean)):
            if not np.isfinite(values).all():
                raise ValueError(f"there is no finite action at the observation {seen}")
        self._key, self._mean = key, mean
        return found


def load_agent(run_dir: str | Path, agent: int = 0) -> Agent:
    """Load an agent from a run's newest checkpoint, or from a folder that `export_agent` wrote.

    The agents of a population are numbered as their rows in metrics.csv and in each evaluation
    of returns.csv. Raise ConfigError if the folder holds no run, or the run no such agent;
    MissingError if the run has no checkpoint yet.
    """
    return Agent(*_alone(Path(run_dir), agent))


def export_agent(run_dir: str | Path, folder: str | Path, agent: int = 0) -> Path:
    """Write what one trained agent needs to act into a folder of its own.

    The folder holds its configuration, where it comes from, and its networks as NumPy arrays:
    `load_agent` and `evaluate` take it as they take a run. Raise ConfigError if `run_dir` holds
    no run, the run no such agent, or `folder` a run; MissingError without a checkpoint.
    """
    source, target = Path(run_dir), Path(folder)
    if (target / "config.json").exists():
        raise ConfigError(f"{str(folder)!r} holds a run already: choose another folder")
    group, state = _alone(source, agent)
    target.mkdir(parents=True, exist_ok=True)
    trained = runs.read_provenance(source).get("commit")
    steps = max(checkpoint.saved_steps(source), default=None)
    write_provenance(target, {"trained": trained, "steps": steps})
    stored_agents.write_networks(target / checkpoint.NETWORKS, state)
    write_config(target, group.agents[0])
    return target


def _alone(run_dir: Path, agent: int) -> tuple[Group, AgentState]:
    """Return one agent of a run as a group of its own, and its state."""
    population, states = _restore(run_dir)
    number, row = population.place(agent)
    group = population.groups[number]
    alone = group._replace(agents=(group.agents[row],), rows=slice(0, 1))
    several = len(group.agents) > 1
    return alone, jax.tree.map(lambda leaf: leaf[row] if several else leaf, states[number])


def _restore(run_dir: Path) -> tuple[Population, tuple[AgentState, ...]]:
    config = read_config(run_dir)
    runtime.configure(config.matmul_precision)
    population = population_of(config)
    like, _ = jax.eval_shape(make_programs(population).init, *initial_arguments(population))
    return population, checkpoint.restore_agents(run_dir, like, population)


def population_of(config: Config) -> Population:
    """Return the population of a configuration, sized by its environment."""
    return make_population(config.agents, *envs.dimensions(config.task))


def evaluate(run_dir: str | Path, episodes: int = 10) -> pd.DataFrame:
    """Evaluate the newest checkpoint of a run anew, or an agent that `export_agent` wrote.

    Return a row an agent and episode: `agent, method, lam, prior, seed, episode, return,
    return_policy`. Fewer than one episode is a ConfigError.
    """
    if episodes < 1:
        raise ConfigError(f"episodes is {episodes} but must be at least 1")
    population, states = _restore(Path(run_dir))
    evaluator = Evaluator(make_programs(population), episodes)
    planner, policy = evaluator.planner(states).returns, evaluator.policy(states).returns
    return pd.DataFrame([
        {"agent": index, "method": config.method, "lam": config.lam, "prior": config.prior,
         "seed": config.seed, "episode": episode, "return": planner[index, episode],
         "return_policy": policy[index, episode]}
        for index, config in enumerate(population.agents)
        for episode in range(episodes)
    ])  # fmt: skip


def record_video(run_dir: str | Path, path: str | Path | None = None, agent: int = 0) -> Path:
    """Record an agent's first episode of the newest evaluation as an mp4.

    It is one of the episodes whose mean stands in returns.csv; an exported agent plays it for the
    video. By default the video lands in `run_dir/video.mp4`. Raise ConfigError if the folder holds
    no run, MissingError if it holds neither episodes nor an agent, VideoError with the cause if
    nothing can be rendered.
    """
    config = read_config(Path(run_dir))
    make_population(config.agents, 0, 0).place(agent)  # refuses an agent that is not there
    seed, actions = _first_episode(Path(run_dir), agent)
    if np.isnan(actions).any():
        raise VideoError(
            f"there is no video of agent {agent}: the environment of its first evaluation episode "
            "failed, and the episode was started anew"
        )
    target = Path(path) if path else Path(run_dir) / "video.mp4"
    return video.record_actions(config.task, seed, actions, target)


def _first_episode(run_dir: Path, agent: int) -> tuple[int, np.ndarray]:
    """Return seed and actions `[T, A]` of an agent's first episode, played now if none is kept."""
    stored = run_dir / runs.EPISODES
    if stored.exists():
        with np.load(stored) as episodes:
            return int(episodes["seed"][agent]), episodes["actions"][agent]
    population, states = _restore(run_dir)
    played = Evaluator(make_programs(population), 1).planner(states)
    return int(played.seeds[agent, 0]), played.actions[agent]
