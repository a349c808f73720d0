"""The function and the test of each numbered equation, for the tutorial that reads the code."""

import ast
import inspect
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown

from pompc import runs
from pompc.algorithm import losses, planner
from pompc.errors import ConfigError, nearest
from pompc.theory import gradient_variance, tabular

_LOSSES, _PLANNER = "algorithm/test_losses.py::", "algorithm/test_planner.py::"
_TABULAR, _VARIANCE = "theory/test_theory.py::", "theory/test_gradient_variance.py::"
EQUATIONS: dict[str, tuple[Callable[..., Any], str]] = {  # the function, and where its test is
    "8, 9, 12, 13": (losses.prior_loss, f"{_LOSSES}test_prior_loss_eq_12_and_13"),
    "10": (planner.trajectory_values, f"{_PLANNER}test_value_estimates_agree_with_the_oracle"),
    "11": (planner.refine, f"{_PLANNER}test_refine_is_eq_11_on_a_case_done_by_hand"),
    "14, 16": (losses.value_loss, f"{_LOSSES}test_world_model_and_value_losses_eq_14_and_16"),
    "15": (losses.td_target, f"{_LOSSES}test_td_target_eq_15"),
    "7, 17": (losses.kl_td_target, f"{_LOSSES}test_kl_td_target_eq_17"),
    "5, 6, 18": (losses.policy_loss, f"{_LOSSES}test_policy_loss_eq_18"),
    "19, 20": (
        tabular.bellman_backup,
        f"{_TABULAR}test_backup_is_eq_19_and_its_fixed_point_what_evaluate_returns",
    ),
    "23": (tabular.improve, f"{_TABULAR}test_improve_minimises_eq_23_and_no_value_falls"),
    "43": (losses.cloning_weights, "settings/test_methods.py::test_td_mpbc_eq_43"),
    "48, 50, 52": (
        gradient_variance.exact_moments,
        f"{_VARIANCE}test_exact_moments_equal_a_sum_over_all_actions_and_all_draws",
    ),
    "49": (
        gradient_variance.geometric_mean,
        f"{_VARIANCE}test_geometric_mean_and_moment_match_minimise_eq_8_and_9",
    ),
}


def source_of_test(test: str) -> str:
    """Return the source of a test, without its decorators; one not there is a ConfigError."""
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
    """Return the function and the test of an equation as Markdown; none is a ConfigError."""
    if number not in EQUATIONS:
        raise ConfigError(f"no equation {number!r}{nearest(number, EQUATIONS)}")
    function, test = EQUATIONS[number]
    home = f"{function.__module__.replace('.', '/')}.py"
    return Markdown(
        f"`{home}`\n\n```python\n{inspect.getsource(function)}```\n\n"
        f"`tests/{test}`\n\n```python\n{source_of_test(test)}\n```"
    )
