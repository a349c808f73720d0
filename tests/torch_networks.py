"""Networks of public torch code as our trees of parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def network(
    layers: Sequence, latent: int | None = None, read: Callable[[Any], Any] = lambda value: value
) -> dict:
    """Return an MLP of torch as our tree; `latent` splits the first layer's inputs.

    `read` takes what is wanted of a parameter, such as its gradient.
    """

    def array(value):
        return read(value).detach().numpy().copy()

    tree = {}
    for index, layer in enumerate(layers):
        last = index == len(layers) - 1
        kernel, bias = array(layer.weight).T, array(layer.bias)
        name = "input_0" if index == 0 else "output" if last else f"hidden_{index}"
        tree[name] = {"kernel": kernel, "bias": bias}
        if index == 0 and latent:
            tree["input_0"]["kernel"] = kernel[:latent]
            tree["input_1"] = {"kernel": kernel[latent:]}
        if hasattr(layer, "ln"):
            scale, shift = array(layer.ln.weight), array(layer.ln.bias)
            tree["norm_output" if last else f"norm_{index}"] = {"scale": scale, "bias": shift}
    return jax.tree.map(jnp.asarray, tree)
