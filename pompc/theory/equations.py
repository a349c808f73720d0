"""The function and the test of each numbered equation, for the tutorial that reads the code."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from IPython.display import Markdown

from pompc import runs
from pompc.algorithm import losses, planner
from pompc.errors import ConfigError, nearest
from pompc.theory import gradient_variance, tabular


class Equation(NamedTuple):
    """Where a numbered equation lives."""

    function: Callable[..., Any]
    test: str  # file of tests/, two colons, function


EQUATIONS = {
    "8, 9, 12, 13": Equation(
        losses.prior_loss, "algorithm/test_losses.py::test_prior_loss_eq_12_and_13"
    ),
    "10": Equation(
        planner.trajectory_values,
        "algorithm/test_planner.py::test_value_estimates_agree_with_the_oracle",
    ),
    "11": Equation(
        planner.refine, "algorithm/test_planner.py::test_refine_is_eq_11_on_a_case_done_by_hand"
    ),
    "14, 16": Equation(
        losses.value_loss,
        "algorithm/test_losses.py::test_world_model_and_value_losses_eq_14_and_16",
    ),
    "15": Equation(losses.td_target, "algorithm/test_losses.py::test_td_target_eq_15"),
    "7, 17": Equation(losses.kl_td_target, "algorithm/test_losses.py::test_kl_td_target_eq_17"),
    "5, 6, 18": Equation(losses.policy_loss, "algorithm/test_losses.py::test_policy_loss_eq_18"),
    "19, 20": Equation(
        tabular.bellman_backup,
        "theory/test_theory.py::test_backup_is_eq_19_and_its_fixed_point_what_evaluate_returns",
    ),
    "23": Equation(
        tabular.improve, "theory/test_theory.py::test_improve_minimises_eq_23_and_no_value_falls"
    ),
    "43": Equation(losses.cloning_weights, "settings/test_methods.py::test_td_mpbc_eq_43"),
    "48, 50, 52": Equation(
        gradient_variance.exact_moments,
        "theory/test_gradient_variance.py::test_exact_moments_equal_a_sum_over_all_actions_and_all_draws",
    ),
    "49": Equation(
        gradient_variance.geometric_mean,
        "theory/test_gradient_variance.py::test_geometric_mean_and_moment_match_minimise_eq_8_and_9",
    ),
}


def source_of_test(test: str) -> str:
    """Return the source of a test, without its decorators.

    Raises:
        ConfigError: if there is no such file, or no such test in it.
    """
    name, _, function = test.partition("::")
    path = runs.ROOT / "tests" / name
    if not path.is_file():
        raise ConfigError(f"there is no file {name!r} in tests/")
    text = path.read_text()
    found = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    if function not in found:
        raise ConfigError(f"{name} has no function {function!r}{nearest(function, found)}")
    return ast.get_source_segment(text, found[function]) or ""


def function_and_test(number: str) -> Markdown:
    """Return the function and the test of an equation as text for a notebook.

    Raises:
        ConfigError: if the equation is not in `EQUATIONS`.
    """
    if number not in EQUATIONS:
        raise ConfigError(f"no equation {number!r}{nearest(number, EQUATIONS)}")
    function, test = EQUATIONS[number]
    home = f"{function.__module__.replace('.', '/')}.py"
    return Markdown(
        f"`{home}`\n\n```python\n{inspect.getsource(function)}```\n\n"
        f"`tests/{test}`\n\n```python\n{source_of_test(test)}\n```"
    )
