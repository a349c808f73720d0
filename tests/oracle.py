"""The mathematics of PO-MPC, written naively in float64 NumPy from the paper alone.

Everything is a loop over plain vectors, so that each function can be read against its equation. The
project's JAX code is tested against this file, which therefore imports nothing from `pompc`. Only
values are computed, no gradients, and there is no dropout. Letters in shapes: B batch, H horizon,
O observation, A action, Z latent, N trajectories, K elites.
"""

import math
from typing import NamedTuple

import numpy as np


class Settings(NamedTuple):
    """The paper's Table 3; the bounds of log std are those of bmpc-jax."""

    low: float = -10.0
    high: float = 10.0
    bins: int = 101
    simnorm_dim: int = 8
    log_std_low: float = -5.0
    log_std_high: float = 1.0
    discount: float = 0.99
    rho: float = 0.5
    elites: int = 64
    beta: float = 1.0
    std_min: float = 0.05
    std_max: float = 2.0
    iterations: int = 8


def f64(x):
    """The same array in double precision."""
    return np.asarray(x, dtype=np.float64)


def softmax(x):
    """exp(x_i) / sum_j exp(x_j) of a vector, shifted by its maximum so that nothing overflows."""
    shifted = np.exp(f64(x) - np.max(x))
    return shifted / shifted.sum()


def mish(x):
    """x tanh(log(1 + exp(x))), elementwise."""
    return f64(x) * np.tanh(np.logaddexp(0.0, f64(x)))


def layer_norm(x, scale, offset):
    """(x - mean) / sqrt(variance + 1e-5) * scale + offset of one vector, biased variance."""
    x = f64(x)
    variance = ((x - x.mean()) ** 2).mean()
    return (x - x.mean()) / math.sqrt(variance + 1e-5) * f64(scale) + f64(offset)


def simnorm(x, dim):
    """Softmax in consecutive groups of `dim` entries of one vector [Z]."""
    return np.concatenate([softmax(x[i : i + dim]) for i in range(0, len(x), dim)])


def symlog(x):
    """sign(x) log(1 + |x|), elementwise."""
    return np.sign(f64(x)) * np.log1p(np.abs(f64(x)))


def symexp(x):
    """sign(x) (exp(|x|) - 1), elementwise: the inverse of symlog."""
    return np.sign(f64(x)) * np.expm1(np.abs(f64(x)))


def two_hot(x, low, high, bins):
    """Scalar x to [bins]: symlog(x), clipped, shared linearly between its two neighbouring bins."""
    position = (min(max(float(symlog(x)), low), high) - low) / ((high - low) / (bins - 1))
    lower = min(math.floor(position), bins - 2)
    encoding = np.zeros(bins)
    encoding[lower] = 1.0 - (position - lower)
    encoding[lower + 1] = position - lower
    return encoding


def two_hot_decode(logits, low, high, bins):
    """Logits [bins] to a scalar: symexp(sum_i softmax(logits)_i bin_i)."""
    centres = [low + i * (high - low) / (bins - 1) for i in range(bins)]
    return float(symexp(sum(p * c for p, c in zip(softmax(logits), centres, strict=True))))


def cross_entropy(logits, target, low, high, bins):
    """CE of Eq. 14, 16: -sum_i two_hot(target)_i log softmax(logits)_i, a scalar."""
    shifted = f64(logits) - np.max(logits)
    log_probabilities = shifted - math.log(np.exp(shifted).sum())
    return float(-(two_hot(target, low, high, bins) * log_probabilities).sum())


def apply_mlp(layers, x, last="linear", simnorm_dim=8):
    """Vector [in] to [out]: (Linear, LayerNorm, Mish) per hidden layer, then the last layer.

    The last layer is Linear, or Linear, LayerNorm, SimNorm.
    """
    x = f64(x)
    for layer in layers[:-1]:
        x = x @ f64(layer["kernel"]) + f64(layer["bias"])
        x = mish(layer_norm(x, layer["scale"], layer["offset"]))
    layer = layers[-1]
    x = x @ f64(layer["kernel"]) + f64(layer["bias"])
    if last == "simnorm":
        x = simnorm(layer_norm(x, layer["scale"], layer["offset"]), simnorm_dim)
    return x


def encode(params, observation, simnorm_dim):
    """z = h(s) (4.2): observation [O] to latent [Z]."""
    return apply_mlp(params["encoder"], observation, "simnorm", simnorm_dim)


def next_latent(params, latent, action, simnorm_dim):
    """z' = p(z, a) (B.1): latent [Z], action [A] to latent [Z]."""
    return apply_mlp(params["dynamics"], np.concatenate([latent, action]), "simnorm", simnorm_dim)


def reward_logits(params, latent, action):
    """Latent [Z], action [A] to the reward's logits [bins]."""
    return apply_mlp(params["reward"], np.concatenate([latent, action]))


def reward(params, latent, action, low, high, bins):
    """r(z, a) (B.1): latent [Z], action [A] to a scalar."""
    return two_hot_decode(reward_logits(params, latent, action), low, high, bins)


def q_logits(head_mlp, latent, action):
    """Latent [Z], action [A] to one head's logits [bins]."""
    return apply_mlp(head_mlp, np.concatenate([latent, action]))


def q_value(head_mlp, latent, action, low, high, bins):
    """Q(z, a) of one head (B.3): latent [Z], action [A] to a scalar."""
    return two_hot_decode(q_logits(head_mlp, latent, action), low, high, bins)


def pair_values(heads, pair, latent, action, settings):
    """The decoded values of the chosen heads (indices `pair`) at latent [Z], action [A]: a list."""
    s = settings
    return [q_value(heads[i], latent, action, s.low, s.high, s.bins) for i in pair]


def gaussian(mlp, latent, log_std_low, log_std_high):
    """pi(. | z): latent [Z] to mean [A], log_std [A], from the halves m, r of the output.

    mean = tanh(m), log_std = low + (high - low) (tanh(r) + 1) / 2.
    """
    out = apply_mlp(mlp, latent)
    half = len(out) // 2
    mean = np.tanh(out[:half])
    log_std = log_std_low + 0.5 * (log_std_high - log_std_low) * (np.tanh(out[half:]) + 1.0)
    return mean, log_std


def sample(mean, log_std, noise):
    """a = clip(mean + std noise, -1, 1), all [A]."""
    return np.clip(f64(mean) + np.exp(f64(log_std)) * f64(noise), -1.0, 1.0)


def policy_action(params, latent, noise, settings):
    """a ~ pi_s(. | z): latent [Z], noise [A] to action [A]."""
    s = settings
    return sample(*gaussian(params["policy"], latent, s.log_std_low, s.log_std_high), noise)


def kl(mean1, std1, mean2, std2):
    """KL[N(mean1, std1^2) || N(mean2, std2^2)] of diagonal Gaussians [A], summed over A."""
    total = 0.0
    for m1, s1, m2, s2 in zip(f64(mean1), f64(std1), f64(mean2), f64(std2), strict=True):
        total += math.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2.0 * s2**2) - 0.5
    return total


def entropy(std):
    """H of a diagonal Gaussian, std [A]: sum_a log(2 pi e std_a^2) / 2."""
    return sum(0.5 * math.log(2.0 * math.pi * math.e * s**2) for s in f64(std))


def percentile_range(values, low=5, high=95):
    """What the scales S of Eq. 12 to 18 track: the 95th less the 5th percentile of any array.

    The q-th percentile lies at rank q / 100 (n - 1), linearly between its neighbours.
    """
    ordered, found = sorted(f64(values).ravel().tolist()), []
    for q in (low, high):
        rank = q / 100.0 * (len(ordered) - 1)
        below = math.floor(rank)
        above = min(below + 1, len(ordered) - 1)
        found.append(ordered[below] + (rank - below) * (ordered[above] - ordered[below]))
    return found[1] - found[0]


def update_scale(scale, values, rate):
    """S <- (1 - rate) S + rate range(values), scalars; max(1, S) is applied where S is used."""
    return (1.0 - rate) * scale + rate * percentile_range(values)


def mppi_update(actions, values, elites, temperature_beta, std_min, std_max):
    """Eq. 11: actions [N, H, A], values [N] to mean [H, A], std [H, A], weights [K], indices [K].

    w_i is the softmax of +values / beta over the elites (the paper prints -, right for costs only),
    mean = sum_i w_i a_i = old mean + sum_i w_i eps_i, and std^2 = sum_i w_i (a_i - mean)^2 about
    the new mean, then clipped. Indices run from the best trajectory down.
    """
    actions, values = f64(actions), f64(values)
    indices = sorted(range(len(values)), key=lambda i: -values[i])[:elites]
    best = values[indices[0]]
    scores = [math.exp((values[i] - best) / temperature_beta) for i in indices]
    weights = np.array([score / sum(scores) for score in scores])
    mean = sum(w * actions[i] for w, i in zip(weights, indices, strict=True))
    variance = sum(w * (actions[i] - mean) ** 2 for w, i in zip(weights, indices, strict=True))
    return mean, np.clip(np.sqrt(variance), std_min, std_max), weights, np.array(indices)


def trajectory_value(params, latent, actions, terminal_noise, heads, discount, settings):
    """Eq. 10: sum_{t<H} gamma^t r(z_t, a_t) + gamma^H Q(z_H, a_H), a scalar.

    Latent [Z], actions [H, A]; a_H ~ pi_s(. | z_H) with terminal_noise [A]; Q is the heads' mean.
    """
    s = settings
    z, value = f64(latent), 0.0
    for t, action in enumerate(f64(actions)):
        value += discount**t * reward(params, z, action, s.low, s.high, s.bins)
        z = next_latent(params, z, action, s.simnorm_dim)
    final = policy_action(params, z, terminal_noise, s)
    q = pair_values(params["q"], heads, z, final, s)
    return value + discount ** len(actions) * sum(q) / len(q)


def policy_trajectory(params, latent, noise, settings):
    """Actions [H, A] of pi_s through the model from latent [Z], with noise [H, A] (B.1)."""
    z, actions = f64(latent), []
    for step in noise:
        actions.append(policy_action(params, z, step, settings))
        z = next_latent(params, z, actions[-1], settings.simnorm_dim)
    return np.array(actions)


def plan(
    params, latent, previous_mean, policy_noise, sample_noise, terminal_noise, heads, settings
):
    """MPPI (B.1): mean, std [H, A], elite actions [K, H, A], weights [K], values [N] (Eq. 10, 11).

    Latent [Z]; previous_mean [H, A] is the last plan's, shifted here by one step and filled with 0;
    policy_noise [Npi, H, A]; sample_noise [iterations, N - Npi, H, A]; terminal_noise [N, A], the
    first Npi for the policy's trajectories. Elites, weights and values are the last iteration's.
    """
    s = settings
    from_policy = [policy_trajectory(params, latent, noise, s) for noise in policy_noise]
    mean = np.zeros(np.shape(previous_mean))
    for t in range(len(mean) - 1):
        mean[t] = previous_mean[t + 1]
    std = np.full(mean.shape, float(s.std_max))
    for k in range(s.iterations):
        drawn = [np.clip(mean + std * f64(noise), -1.0, 1.0) for noise in sample_noise[k]]
        actions = np.array(from_policy + drawn)
        values = np.zeros(len(actions))
        for i in range(len(actions)):
            values[i] = trajectory_value(
                params, latent, actions[i], terminal_noise[i], heads, s.discount, s
            )
        mean, std, weights, elite = mppi_update(
            actions, values, s.elites, s.beta, s.std_min, s.std_max
        )
    return mean, std, actions[elite], weights, values


def time_average(terms, mask, rho):
    """sum_t rho^t / H sum_b mask[t, b] terms[t, b] / B of Eq. 12 to 18; terms, mask [H, B]."""
    horizon, batch = np.shape(terms)
    total = 0.0
    for t in range(horizon):
        for b in range(batch):
            total += rho**t / horizon * mask[t][b] * terms[t][b] / batch
    return float(total)


def rollout(params, observations, actions, settings):
    """Latents [H + 1, B, Z] through the dynamics from h(observations [B, O]), actions [H, B, A]."""
    latents = [[encode(params, o, settings.simnorm_dim) for o in observations]]
    for step in actions:
        latents.append([])
        for z, a in zip(latents[-2], step, strict=True):
            latents[-1].append(next_latent(params, z, a, settings.simnorm_dim))
    return np.array(latents)


def value_loss(heads, latents, actions, targets, mask, settings):
    """Eq. 14 (Q) and 16 (Q^lambda): CE to the targets [H, B], averaged over the heads.

    Latents [H or H + 1, B, Z] (of the rollout), actions [H, B, A], mask [H, B].
    """
    s = settings
    terms = np.zeros(np.shape(targets))
    for t, b in np.ndindex(terms.shape):
        for head in heads:
            logits = q_logits(head, latents[t][b], actions[t][b])
            terms[t, b] += cross_entropy(logits, targets[t][b], s.low, s.high, s.bins) / len(heads)
    return time_average(terms, mask, s.rho)


def world_model_losses(params, observations, actions, rewards, targets, mask, settings):
    """TD-MPC2's losses and Eq. 14, without coefficients: a dict of consistency, reward, value.

    Observations [H + 1, B, O], actions [H, B, A], rewards, targets, mask [H, B].
    """
    s = settings
    latents = rollout(params, observations[0], actions, s)
    consistency, rewarding = np.zeros(np.shape(rewards)), np.zeros(np.shape(rewards))
    for t, b in np.ndindex(consistency.shape):
        encoded = encode(params, observations[t + 1][b], s.simnorm_dim)
        consistency[t, b] = ((latents[t + 1][b] - encoded) ** 2).mean()
        logits = reward_logits(params, latents[t][b], actions[t][b])
        rewarding[t, b] = cross_entropy(logits, rewards[t][b], s.low, s.high, s.bins)
    return {
        "consistency": time_average(consistency, mask, s.rho),
        "reward": time_average(rewarding, mask, s.rho),
        "value": value_loss(params["q"], latents, actions, targets, mask, s),
    }


def bootstrap_values(params, name, next_latents, policy_noise, pair, settings):
    """Minimum over the pair of the heads params[name] at (z', a'), a' ~ pi_s(. | z'): [H, B].

    next_latents [H, B, Z], policy_noise [H, B, A].
    """
    values = np.zeros(np.shape(next_latents)[:2])
    for t, b in np.ndindex(values.shape):
        z = next_latents[t][b]
        action = policy_action(params, z, policy_noise[t][b], settings)
        values[t, b] = min(pair_values(params[name], pair, z, action, settings))
    return values


def td_targets(params, next_latents, rewards, terminated, policy_noise, pair, discount, settings):
    """Eq. 15: r + gamma (1 - terminated) Q(z', a') of the target heads; all [H, B]."""
    q = bootstrap_values(params, "q_target", next_latents, policy_noise, pair, settings)
    return f64(rewards) + discount * (1.0 - f64(terminated)) * q


def kl_td_targets(
    params, next_latents, rewards, terminated, policy_noise, pair, discount, settings,
    lam, kl_values, kl_scale,
):  # fmt: skip
    """Eq. 17: r + gamma (1 - terminated) (Q^lambda(z', a') - lam KL(z') / max(1, S_KL)), [H, B].

    kl_values [H, B] are the raw KLs at next_latents.
    """
    if math.isinf(lam):
        raise ValueError("with an infinite lambda Q^lambda is not used and has no finite target")
    q = bootstrap_values(params, "q_kl_target", next_latents, policy_noise, pair, settings)
    bootstrap = q - lam * f64(kl_values) / max(1.0, kl_scale)
    return f64(rewards) + discount * (1.0 - f64(terminated)) * bootstrap


def policy_loss(
    params, latents, prior_mean, prior_std, noise, pair, lam, kl_scale, q_scale, entropy_coef, mask,
    settings,
):  # fmt: skip
    """Eq. 18: lam KL / max(1, S_KL) - Q^lambda / max(1, S_Q) - alpha A H, over time and batch.

    Latents [H, B, Z], prior_mean, prior_std, noise [H, B, A], mask [H, B]. Q^lambda is the mean of
    the pair at the clipped sample. For lam = inf only KL / max(1, S_KL) remains.
    """
    s = settings
    terms = np.zeros(np.shape(mask))
    for t, b in np.ndindex(terms.shape):
        z = latents[t][b]
        mean, log_std = gaussian(params["policy"], z, s.log_std_low, s.log_std_high)
        divergence = kl(mean, np.exp(log_std), prior_mean[t][b], prior_std[t][b])
        terms[t, b] = divergence / max(1.0, kl_scale)
        if math.isinf(lam):
            continue
        q = pair_values(params["q_kl"], pair, z, sample(mean, log_std, noise[t][b]), s)
        bonus = entropy_coef * len(mean) * entropy(np.exp(log_std))
        terms[t, b] = lam * terms[t, b] - sum(q) / len(q) / max(1.0, q_scale) - bonus
    return time_average(terms, mask, s.rho)


def prior_loss(params, latents, plan_mean, plan_std, scale, direction, mask, settings):
    """Eq. 12 "reverse", KL[prior || planner], or Eq. 13 "forward", KL[planner || prior].

    Each is divided by max(1, S_p); latents [H, B, Z], plan_mean, plan_std [H, B, A], mask [H, B].
    """
    s = settings
    terms = np.zeros(np.shape(mask))
    for t, b in np.ndindex(terms.shape):
        mean, log_std = gaussian(params["prior"], latents[t][b], s.log_std_low, s.log_std_high)
        prior, planner = (mean, np.exp(log_std)), (plan_mean[t][b], plan_std[t][b])
        pairs = {"reverse": (*prior, *planner), "forward": (*planner, *prior)}
        terms[t, b] = kl(*pairs[direction]) / max(1.0, scale)
    return time_average(terms, mask, s.rho)
