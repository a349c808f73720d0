"""The network of TD-MPC2, one Flax module for all: Mish, LayerNorm, SimNorm, MLP, ensembles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm.maths import bounded_exp, row_sums
from pompc.runtime import has_gpu, rounds_products

Params = Any  # a tree of parameter arrays, as Flax returns it

# Tensor cores want widths like these: with 128 logits for 101 a product takes 0.25 ms for 0.42.
GPU_COLUMNS = 64
LAYER_NORM_EPSILON = 1e-5
Contracted = tuple[tuple[int, ...], tuple[int, ...]]  # axes of the one factor and the other
# Plain normal: Flax's truncated normal of 0.02 has a standard deviation of 0.0176 only.
KERNEL_INIT = nn.initializers.normal(0.02)


@jax.custom_vjp
def mish(x: Array) -> Array:
    r"""Apply Mish, $x \tanh(\log(1 + e^x))$, elementwise.

    One exponential instead of three transcendental functions: with $n = e^x$,
    $\tanh(\log(1 + n)) = n(n + 2) / (n(n + 2) + 2)$. Above 20 the factor is 1 in float32.
    """
    n = jnp.exp(jnp.minimum(x, 20.0))
    m = n * (n + 2.0)
    return x * (m / (m + 2.0))


def _mish_forward(x: Array) -> tuple[Array, Array]:
    return mish(x), x


def _mish_backward(x: Array, gradient: Array) -> tuple[Array]:
    # From x anew, with p = 1 / n: XLA would keep an exponential that both passes share in memory,
    # which costs more than another one. It would make a square of p an exponential of its own.
    p = jnp.exp(-jnp.clip(x, -40.0, 20.0))
    inverse = 1.0 / (1.0 + 2.0 * p * (1.0 + p))
    slope = (1.0 + 2.0 * p) * inverse + 4.0 * x * ((1.0 + p) * inverse * p) * (p * inverse)
    return (slope * gradient,)


mish.defvjp(_mish_forward, _mish_backward)


@jax.custom_vjp
def layer_norm(x: Array, scale: Array, bias: Array) -> Array:
    r"""Normalise `[..., D]` over its last axis, with scale and bias `[D]`.

    $$\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \odot s + b$$

    The gradient is its closed form: of Flax's LayerNorm XLA keeps scale and deviation in memory,
    broadcast to the size of x, which is a tenth of an update's time with narrow networks.
    """
    return _layer_norm_forward(x, scale, bias)[0]


def _layer_norm_forward(x: Array, scale: Array, bias: Array) -> tuple[Array, tuple[Array, ...]]:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True) - jnp.square(mean)
    inverse = jax.lax.rsqrt(jnp.maximum(variance, 0.0) + LAYER_NORM_EPSILON)
    scale, bias = (jnp.expand_dims(one, range(x.ndim - 1)) for one in (scale, bias))
    return (x - mean) * inverse * scale + bias, (x, mean, inverse, scale)


def _layer_norm_backward(
    residuals: tuple[Array, ...], gradient: Array
) -> tuple[Array, Array, Array]:
    x, mean, inverse, scale = residuals
    normal, scaled = (x - mean) * inverse, gradient * scale
    along = jnp.mean(scaled * normal, axis=-1, keepdims=True)
    of_x = inverse * (scaled - jnp.mean(scaled, axis=-1, keepdims=True) - normal * along)
    rows = tuple(range(x.ndim - 1))
    return of_x, jnp.sum(gradient * normal, axis=rows), jnp.sum(gradient, axis=rows)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rounded_product(a: Array, b: Array, contracted: Contracted) -> Array:
    """Return the product of two tensors whose entries are rounded to TF32's 10 bits."""
    rounded = partial(jax.lax.reduce_precision, exponent_bits=8, mantissa_bits=10)
    return jnp.tensordot(rounded(a), rounded(b), contracted)


def _rounded_forward(a: Array, b: Array, contracted: Contracted) -> tuple[Array, Any]:
    return _rounded_product(a, b, contracted), (a, b)


def _rounded_backward(contracted: Contracted, factors: Any, gradient: Array) -> tuple[Array, Array]:
    del contracted  # the last axis of a and the first of a matrix b
    a, b = factors
    lead = tuple(range(a.ndim - 1))
    return (
        _rounded_product(gradient, b, ((gradient.ndim - 1,), (1,))),
        _rounded_product(a, gradient, (lead, lead)),
    )


_rounded_product.defvjp(_rounded_forward, _rounded_backward)


def rounded_dot_general(a: Array, b: Array, dimensions: Any, **_: Any) -> Array:
    """Return the product of a layer's input `[..., I]` and kernel `[I, O]` as TF32 computes it.

    Factors, also those of the gradients, are rounded to 10 bits and sums are float32: what a GPU
    does, for a CPU that has no such units.
    """
    contracted, _ = dimensions
    return _rounded_product(a, b, contracted)


def simnorm(x: Array, dim: int) -> Array:
    """Project `[..., Z]` onto products of simplices: softmax in groups of `dim` (TD-MPC2)."""
    groups = bounded_exp(x).reshape(-1, dim)
    return (groups / row_sums(groups)).reshape(x.shape)


class LayerNorm(nn.Module):
    """Flax's LayerNorm by `layer_norm`; statistics are float32, the result is of x's type."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Normalise `[..., D]` over its last axis."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        return layer_norm(x.astype(jnp.float32), scale, bias).astype(x.dtype)


class MLP(nn.Module):
    """Linear -> LayerNorm -> Mish layers, and a last layer that is linear or SimNorm.

    Several inputs count as concatenated: the first layer is a sum of one matrix product for each,
    so that a latent shared by many actions (the one that a plan starts from) is multiplied once.
    """

    hidden: tuple[int, ...]
    out: int
    last: Literal["linear", "simnorm"] = "linear"
    simnorm_dim: int = 8
    dropout: float = 0.0  # in the first layer, before its LayerNorm
    zero_last: bool = False
    dtype: str = "float32"  # of the activations; parameters are float32

    @nn.compact
    def __call__(self, *inputs: Array, train: bool = False) -> Array:
        """Map inputs `[..., I_k]`, whose leading axes broadcast, to `[..., out]`."""
        first, *rest = self.hidden
        product = rounded_dot_general if rounds_products() else None
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=KERNEL_INIT, dot_general=product)
        x = dense(first, name="input_0")(inputs[0])
        for index, value in enumerate(inputs[1:], 1):
            x += dense(first, use_bias=False, name=f"input_{index}")(value)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = mish(LayerNorm(name="norm_0")(x))
        for index, width in enumerate(rest, 1):
            x = dense(width, name=f"hidden_{index}")(x)
            x = mish(LayerNorm(name=f"norm_{index}")(x))
        last_init = nn.initializers.zeros if self.zero_last else KERNEL_INIT
        x = dense(self.out, kernel_init=last_init, name="output")(x)
        if self.last == "simnorm":
            return simnorm(LayerNorm(name="norm_output")(x), self.simnorm_dim)
        return x.astype(jnp.float32)


def apply(module: MLP, params: Params, *inputs: Array, dropout_key: Array | None = None) -> Array:
    """Apply a network to inputs `[..., I_k]`; a key turns its dropout on.

    Leading axes are made one: XLA copies gradients of higher rank transposed, a seventh of an
    update's time on a CPU.
    """
    extra = -module.out % GPU_COLUMNS if has_gpu() and module.out > GPU_COLUMNS else 0
    if extra and module.last == "linear":  # of SimNorm's groups none may be padding
        wide, padded = module.clone(out=module.out + extra), _pad_output(params, extra)
        return _apply(wide, padded, *inputs, dropout_key=dropout_key)[..., : module.out]
    return _apply(module, params, *inputs, dropout_key=dropout_key)


def _pad_output(params: Params, extra: int) -> Params:
    """Append columns of zeros to the last layer."""
    kernel, bias = params["output"]["kernel"], params["output"]["bias"]
    padded = {"kernel": jnp.pad(kernel, ((0, 0), (0, extra))), "bias": jnp.pad(bias, (0, extra))}
    return {**params, "output": padded}


def _apply(module: MLP, params: Params, *inputs: Array, dropout_key: Array | None = None) -> Array:
    train = dropout_key is not None
    rngs = {"dropout": dropout_key} if train else None
    lead = inputs[0].shape[:-1]
    if len(lead) < 2:
        return jnp.asarray(module.apply({"params": params}, *inputs, train=train, rngs=rngs))
    rows = [value.reshape(-1, value.shape[-1]) for value in inputs]
    outputs = jnp.asarray(module.apply({"params": params}, *rows, train=train, rngs=rngs))
    return outputs.reshape(*lead, -1)


def over_heads(function: Callable[..., Any], *per_head: Any) -> Callable[..., Any]:
    """Return a function of one head, whose leaves `per_head` holds as `[E, ...]`, as that of all.

    What the function takes besides is the same for all heads; its result gains the axis `E`.
    Heads are computed together on a GPU, which wants few and large products, and one after the
    other on a CPU, whose caches hold the activations of one. They are taken apart here, so that
    a loop around the result does not copy them each time.
    """
    if has_gpu():
        return lambda *args: jax.vmap(lambda head: function(*head, *args))(per_head)
    count = jax.tree.leaves(per_head)[0].shape[0]
    heads = [jax.tree.map(lambda leaf, head=head: leaf[head], per_head) for head in range(count)]
    return lambda *args: jnp.stack([function(*head, *args) for head in heads])
