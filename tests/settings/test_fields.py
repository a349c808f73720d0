"""The table of settings: what each field says of itself, and who may read it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

from pompc import Config, ConfigError, runs
from pompc.algorithm import loss_weights
from pompc.settings.config import preset_values
from pompc.settings.field_types import allowed, defaults_of, options_of, settings_of
from pompc.settings.fields import PRESETS, Fields
from pompc.settings.methods import METHODS, PRIORS
from pompc.settings.tables import GROUPS

PACKAGE = runs.ROOT / "pompc"
PER_AGENT = {name for name, about in settings_of(Fields).items() if about.per_agent}
# Objects that are no configuration, by the last part of their name, and have such an attribute.
OTHERS = {"parts", "state", "states", "scales", "optimizers", "hypers"}
# Reads that give each agent its own value: its key, and the weights `{name}_coef` of model losses.
ALLOWED = {"groups.py": {"config.seed"}, "update_model.py": {"getattr(config, f'{name}_coef')"}}


@pytest.mark.parametrize("name", defaults_of(Fields))
def test_every_setting_has_a_meaning_that_names_its_choices(name: str):
    meaning = settings_of(Fields)[name].meaning
    assert meaning[0] in "`ε" or meaning[0].isupper()
    assert meaning.endswith(".")
    for choice in allowed(Fields)[name].choices:
        assert f"`{choice}`" in meaning


def test_choices_that_other_modules_hold_are_named_too():
    about = settings_of(Fields)
    assert all(f"`{prior}`" in about["prior"].meaning for prior in PRIORS)
    assert all(f"`{preset}`" in about["preset"].meaning for preset in (*PRESETS, "auto"))


def test_defaults_are_those_of_a_configuration_without_settings():
    found, defaults = Config(preset="paper"), defaults_of(Fields)
    by_task = {"steps", "seeding_decisions", "evaluate_every", "terminations", "preset"}
    for name in defaults.keys() - by_task:
        assert getattr(found, name) == defaults[name], name
    assert found.steps == defaults["steps"] * found.action_repeat
    assert preset_values("paper") == defaults | {"preset": "paper"}


def test_presets_and_methods_set_what_exists_and_no_preset_sets_an_option():
    for values in PRESETS.values():
        assert values.keys() <= defaults_of(Fields).keys() - options_of(Fields).keys()
    for method in METHODS.values():
        assert method.settings.keys() <= defaults_of(Fields).keys()


def test_groups_of_the_tables_begin_with_settings_in_their_order():
    order = list(defaults_of(Fields))
    firsts = [order.index(first) for first in GROUPS.values()]
    assert firsts == sorted(firsts)
    assert firsts[0] == 0


def test_a_retired_setting_is_accepted_with_its_only_value():
    plain = Config("dog-run", preset="laptop")
    assert Config("dog-run", preset="laptop", action_repeat=2) == plain
    assert "action_repeat" not in plain.to_json()
    assert plain.action_repeat == 2
    with pytest.raises(ConfigError, match="action_repeat is 1 but must be 2 for dog-run"):
        Config("dog-run", preset="laptop", action_repeat=1)


def test_every_stored_run_is_read():
    """Their configurations are of many versions: some lack options, some name retired settings."""
    paths = sorted((runs.ROOT / "runs").rglob("config.json"))
    assert len(paths) >= 50
    for path in paths:
        found = Config.from_json(path.read_text())
        assert Config.from_json(found.to_json()).agents == found.agents


def test_an_agent_is_told_from_another_by_every_setting():
    """Equality and hash, by which compiled programs are found, are those of all fields."""
    one = Config(preset="laptop")
    assert hash(one) == hash(Config(preset="laptop"))
    for change in ({"horizon": 4}, {"seed": 1}, {"straight_through": False}):
        other = dataclasses.replace(one, **change)
        assert other != one
        assert hash(other) != hash(one)


# --- Settings in which agents of one program may differ ------------------------------------------


def reads_of_one_agents_value(path: Path) -> set[str]:
    """Return the expressions of a module that read such a setting, from anything but `OTHERS`."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    reads = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in PER_AGENT]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    by_name = [
        node for node in calls
        if ast.unparse(node.func) == "getattr" and "config" in ast.unparse(node.args[0])
    ]  # fmt: skip
    own = [node for node in reads if ast.unparse(node.value).rpartition(".")[2] not in OTHERS]
    return {ast.unparse(node) for node in (*own, *by_name)}


MODULES = sorted(path for name in ("algorithm", "population") for path in PACKAGE.glob(f"{name}/*"))


@pytest.mark.parametrize("path", [p for p in MODULES if p.suffix == ".py"], ids=lambda p: p.stem)
def test_only_loss_weights_reads_settings_in_which_agents_differ(path: Path):
    """Read anywhere else, all agents of a program would silently get its first one's value."""
    if path.name != "loss_weights.py":
        assert reads_of_one_agents_value(path) == ALLOWED.get(path.name, set())


def test_the_search_finds_a_wrong_read(tmp_path: Path):
    (tmp_path / "wrong.py").write_text(
        "def f(world, group, state, name):\n"
        "    return world.config.lam, group.agents[0].prior, state.prior, world.config.horizon,"
        " getattr(world.config, name)\n"
    )
    assert reads_of_one_agents_value(tmp_path / "wrong.py") == {
        "world.config.lam", "group.agents[0].prior", "getattr(world.config, name)",
    }  # fmt: skip


def test_loss_weights_turns_each_of_them_into_an_array():
    """Keys hold the seed, and a method is nothing but its settings."""
    tree = ast.parse(inspect.getsource(loss_weights.hypers))
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert PER_AGENT - {"method", "seed"} <= read


def test_weights_of_model_losses_are_shared_by_the_agents_of_a_program():
    names = {f"{name}_coef" for name in ("consistency", "reward", "value", "kl_value")}
    assert names <= defaults_of(Fields).keys() - PER_AGENT
