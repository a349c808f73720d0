"""What is computed otherwise on a GPU, by a CPU that is told to be one, and traces of programs."""

import agents
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pompc import Config, runtime
from pompc.algorithm import agent, maths, networks, update
from pompc.algorithm.world_model import WorldModel
from pompc.bench import kernels
from pompc.population import cost

ROWS, BINS = 7, 101  # 101 columns are neither few nor a multiple of 64


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that lets the networks be computed as on a GPU."""

    def pretend():
        for module in (networks, maths, runtime):
            monkeypatch.setattr(module, "has_gpu", lambda: True)

    return pretend


@pytest.fixture
def ensemble(small):
    """Return a world, an ensemble of three heads, latents and actions."""
    config = small(bins=BINS, dropout=0.5)
    world, _, state = agents.make(config)
    rng = np.random.default_rng(0)
    pair = [jnp.asarray(rng.normal(size=(ROWS, n)), jnp.float32) for n in (16, agents.ACTIONS)]
    return world, state.model.q, pair


def _logits(world, q, pair, key=None):
    return world.q_function(lambda logits: logits, q, key)(*pair)


def _logits_and_gradient(world, q, pair, key):
    def loss(q):
        logits = _logits(world, q, pair, key)
        return jnp.sum(jnp.sin(logits)), logits

    # A function anew: nothing of another device's program is remembered.
    (_, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(q)
    return logits, gradient


@pytest.mark.parametrize("dropout", [False, True])
def test_heads_together_with_padded_outputs_are_the_heads_alone(ensemble, gpu, dropout):
    world, q, pair = ensemble
    key = jax.random.key(3) if dropout else None
    expected = _logits_and_gradient(world, q, pair, key)
    gpu()
    found = _logits_and_gradient(world, q, pair, key)
    assert found[0].shape == (3, ROWS, BINS)
    compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    jax.tree.map(compare, found, expected)


def test_products_on_a_gpu_have_128_columns_for_101_logits(ensemble, gpu):
    world, q, pair = ensemble
    before = jax.jit(lambda q: _logits(world, q, pair)).lower(q).as_text()
    gpu()
    after = jax.jit(lambda q: _logits(world, q, pair)).lower(q).as_text()
    wide = "tensor<3x16x128xf32>"
    assert wide not in before
    assert wide in after


def test_latents_of_any_size_are_those_of_a_cpu(small, gpu):
    """SimNorm and its LayerNorm see the 96 columns alone, which are no multiple of 64."""
    world, _, state = agents.make(small(latent_dim=96))
    seen = jnp.asarray(
        np.random.default_rng(0).normal(size=(ROWS, agents.OBSERVATIONS)), jnp.float32
    )
    expected = world.encode(state.model.encoder, seen)
    gpu()
    np.testing.assert_allclose(world.encode(state.model.encoder, seen), expected, rtol=1e-5)


def test_simnorm_is_the_same_by_products_and_by_sums(gpu):
    x, target = 3.0 * jax.random.normal(jax.random.key(0), (2, 2, 5, 24))

    def squares(x):
        normal = networks.simnorm(x, 8)
        return jnp.sum(jnp.square(normal - target)), normal

    by_products = jax.grad(squares, has_aux=True)(x)
    gpu()
    by_sums = jax.grad(squares, has_aux=True)(x)
    for found, expected in zip(by_products, by_sums, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_cpu_reads_each_head_by_itself_and_takes_them_apart_before_the_planner_s_loop(small):
    heads = 7  # as many as nothing else here
    config = small(bins=BINS, value_nets=heads, planner_heads="all")
    world, _, state = agents.make(config)
    latent = jnp.zeros((ROWS, config.latent_dim))
    action = jnp.zeros((ROWS, agents.ACTIONS))
    values = jax.make_jaxpr(world.q_values)(state.model.q, latent, action)
    assert str(values).count(f"f32[{ROWS},{BINS}] = exp") == heads
    assert f"f32[{heads},{ROWS},{BINS}]" not in str(values)
    plan = jax.make_jaxpr(
        lambda mean: agent.make_plan(world, state, jax.random.key(0), latent[0], mean)
    )(jnp.zeros((config.horizon, agents.ACTIONS)))
    (loop,) = (step for step in plan.eqns if step.primitive.name == "scan")
    shapes = [value.aval.shape for value in loop.invars]
    assert (config.hidden_dim, BINS) in shapes
    assert not [shape for shape in shapes if shape[:1] == (heads,)]


def _plan_and_learn(config):
    world, needed, state = agents.make(config, spread=0.5)
    key, mean = jax.random.key(0), jnp.zeros((config.horizon, agents.ACTIONS))
    latent = world.encode(state.model.encoder, jnp.ones(agents.OBSERVATIONS))
    batch = agents.make_batch(config)
    return jax.jit(
        lambda: (
            agent.make_plan(world, state, key, latent, mean),
            update.update(world, state, batch, needed, jnp.bool_(False)),
        )
    )()


def test_a_planner_in_bfloat16_plans_nearly_the_same_and_learns_the_same(small):
    plans, learned = zip(
        *(
            _plan_and_learn(small(planner_dtype=dtype, plan_samples=64, elites=16, prior="replay"))
            for dtype in ("float32", "bfloat16")
        ),
        strict=True,
    )
    assert plans[0].mean.dtype == plans[1].mean.dtype == jnp.float32
    difference = np.abs(np.asarray(plans[0].mean - plans[1].mean))
    assert 0 < difference.max() < 0.3
    jax.tree.map(np.testing.assert_array_equal, *learned)


def test_tf32_without_a_gpu_rounds_the_factors_of_all_layers(ensemble, gpu):
    world, q, pair = ensemble
    exact = _logits(world, q, pair)
    with jax.default_matmul_precision("tensorfloat32"):
        rounded = _logits(world, q, pair)
        gpu()
        left_to_the_gpu = _logits(world, q, pair)
    error = np.abs(np.asarray(rounded - exact)) / np.abs(exact).max()
    assert 1e-5 < error.max() < 3e-3
    np.testing.assert_allclose(left_to_the_gpu, exact, rtol=1e-4, atol=1e-5)


@pytest.fixture
def own_settings():
    """Let a test change the precision of all products."""
    before = jax.config.jax_default_matmul_precision
    yield
    jax.config.update("jax_default_matmul_precision", before)


@pytest.mark.parametrize(("has_gpu", "expected"), [(True, "tensorfloat32"), (False, "highest")])
def test_products_are_tf32_on_a_gpu_alone_unless_asked_for(
    monkeypatch, own_settings, has_gpu, expected
):
    monkeypatch.setattr(runtime, "has_gpu", lambda: has_gpu)
    runtime.configure(Config().matmul_precision)
    assert jax.config.jax_default_matmul_precision == expected
    assert runtime.describe()["matmul_precision"] == expected
    for asked, name in (("float32", "highest"), ("tf32", "tensorfloat32")):
        runtime.configure(asked)
        assert jax.config.jax_default_matmul_precision == name


def test_the_reference_product_is_large_on_a_gpu(monkeypatch):
    shapes, put = [], jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda one: shapes.append(one.shape) or put(one))
    monkeypatch.setattr(cost, "_GPU_ROWS", 640)
    assert cost.matmul_rate(64) > 0
    monkeypatch.setattr(runtime, "has_gpu", lambda: True)
    assert cost.matmul_rate(64) > 0
    assert shapes == [(512, 64), (64, 64), (640, 640), (640, 640)]


def test_a_trace_names_what_a_program_does():
    a = jnp.ones((600, 600))
    program = jax.jit(lambda a: jnp.sort(a @ a, axis=0))
    found = kernels.table(lambda: program(a), calls=2)
    assert set(found.columns) == {"kind", "operation", "count", "ms"}
    assert {"matrix products", "sorting"} <= set(found["kind"])
    assert found["ms"].is_monotonic_decreasing
    assert (found["ms"] > 0).all()
    assert found.loc[found["kind"] == "sorting", "count"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("sm90_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize64x256x32", "matrix products"),
        ("nvjet_sm90_tstx160x5x1_v_bz_NNT", "matrix products"),
        ("loop_multiply_fusion", "elementwise and others"),
        ("input_reduce_fusion", "reductions, LayerNorm, softmax"),
        ("triton_softmax", "reductions, LayerNorm, softmax"),
        ("input_concatenate_fusion", "copies"),
        ("Memset 0", "copies"),
        ("sort", "sorting"),
    ],
)
def test_kernels_are_told_by_their_names(operation, kind):
    assert kernels.kind(operation) == kind


def test_a_world_model_in_bfloat16_keeps_its_parameters(small):
    world = WorldModel(small(), agents.OBSERVATIONS, agents.ACTIONS, dtype="bfloat16")
    model = world.init_model(jax.random.key(0), with_kl_q=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype("float32")}
    latent = world.encode(model.encoder, jnp.ones(agents.OBSERVATIONS))
    assert latent.dtype == jnp.bfloat16
    assert world.reward(model.reward, latent, jnp.ones(agents.ACTIONS)).dtype == jnp.float32
