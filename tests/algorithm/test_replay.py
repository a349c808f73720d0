"""The ring with identities written into every field: what is sampled is what happened."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pompc.algorithm import replay
from pompc.algorithm.maths import Gaussian

HORIZON = 3


class Writer:
    """Plays episodes of given lengths into a buffer; every field carries its own identity.

    Observation t of episode e is (e, t); the reward of its action is 1000 e + t; its plan's mean
    is 1000 e + t too. Episode e terminates if it is odd, else it is truncated.
    """

    def __init__(self, capacity):
        self.buffer = replay.create(capacity, 2, 1)
        self.append, self.outcome = jax.jit(replay.append), jax.jit(replay.set_outcome)
        self.close = jax.jit(replay.close_episode)

    def _row(self, episode, step, last):
        name = jnp.array([1000.0 * episode + step])
        self.buffer = self.append(
            self.buffer, jnp.array([episode, step], jnp.float32), name, Gaussian(name, name + 0.5),
            jnp.bool_(last), jnp.bool_(True),
        )  # fmt: skip

    def step(self, episode, step, length):
        if step:
            self.result(episode, step - 1, length)
        self._row(episode, step, last=False)

    def result(self, episode, step, length):
        ends = step == length - 1 and episode % 2 == 1
        self.buffer = self.outcome(self.buffer, jnp.float32(1000 * episode + step), jnp.bool_(ends))

    def play(self, episode, length, until=None):
        for step in range(length if until is None else until):
            self.step(episode, step, length)
        if until is None:
            self.result(episode, length - 1, length)
            self._row(episode, length, last=True)
            self.buffer = self.close(self.buffer, jnp.bool_(True))


def _check(batch, lengths):
    """Every unmasked transition is one that happened; masks are those of the episode's end."""
    observation, mask = np.asarray(batch.observation), np.asarray(batch.mask)
    for column in range(mask.shape[1]):
        episode, start = (int(v) for v in observation[0, column])
        valid = int(mask[:, column].sum())
        assert valid >= 1
        assert mask[:valid, column].all(), "a mask has a hole"
        for k in range(valid):
            assert tuple(observation[k, column]) == (episode, start + k)
            assert tuple(observation[k + 1, column]) == (episode, start + k + 1)
            name = 1000 * episode + start + k
            assert batch.action[k, column, 0] == name
            assert batch.reward[k, column] == name
            assert batch.plan.mean[k, column, 0] == name
            assert batch.plan.mean[k + 1, column, 0] == name + 1
            ends = start + k == lengths[episode] - 1 and episode % 2 == 1
            assert batch.terminated[k, column] == ends
        if valid < HORIZON:
            assert start + valid <= lengths[episode]
            # Past the end the last row repeats: never the next episode's.
            assert (observation[valid:, column, 0] == episode).all()


def _sample(buffer, seed, size=256):
    return jax.jit(lambda b, k: replay.sample(b, k, size, HORIZON))(
        buffer, jax.random.PRNGKey(seed)
    )


@pytest.mark.parametrize("capacity", [23, 40, 200])
def test_no_sequence_crosses_a_reset_or_the_seam(capacity):
    lengths = [7, 1, 9, 2, 12, 3, 5, 8]
    writer = Writer(capacity)
    for episode, length in enumerate(lengths):
        writer.play(episode, length)
        _check(_sample(writer.buffer, episode), lengths)
    writer.play(len(lengths), 6, until=4)
    _check(_sample(writer.buffer, 99), [*lengths, 6])


def test_starts_are_uniform_over_complete_transitions():
    lengths = [4, 1, 6]
    writer = Writer(50)
    for episode, length in enumerate(lengths):
        writer.play(episode, length)
    batch = _sample(writer.buffer, 0, 20_000)
    names, counts = np.unique(np.asarray(batch.reward[0]), return_counts=True)
    expected = [1000 * e + t for e, n in enumerate(lengths) for t in range(n)]
    np.testing.assert_array_equal(names, expected)
    # 5 standard deviations of a multinomial count
    assert np.abs(counts - 20_000 / 11).max() < 5 * np.sqrt(20_000 / 11)


def test_terminal_transitions_are_learned_at_every_position():
    writer = Writer(50)
    writer.play(1, 6)
    batch = _sample(writer.buffer, 0, 500)
    final = np.asarray(batch.terminated * batch.mask)
    assert (final.sum(axis=1) > 0).all()


def test_the_newest_transition_waits_for_the_row_after_it():
    writer = Writer(50)
    writer.play(0, 6, until=3)  # rows 0, 1, 2; the transition from row 2 has no end yet
    assert set(np.asarray(_sample(writer.buffer, 0).reward[0])) == {0.0, 1.0}


def test_the_ring_drops_the_oldest_transitions_only():
    writer = Writer(10)
    for episode in range(4):
        writer.play(episode, 4)  # 20 rows; the ring holds the last two episodes
    found = set(np.asarray(_sample(writer.buffer, 1, 2000).reward[0]))
    assert found == {2000.0, 2001, 2002, 2003, 3000, 3001, 3002, 3003}


def test_an_append_that_is_not_to_be_written_changes_nothing():
    writer = Writer(10)
    writer.play(0, 3)
    row = jnp.zeros(2), jnp.zeros(1), Gaussian(jnp.zeros(1), jnp.ones(1))
    after = replay.append(writer.buffer, *row, jnp.bool_(True), jnp.bool_(False))
    jax.tree.map(np.testing.assert_array_equal, writer.buffer, after)


def test_reanalysed_plans_are_written_back_to_their_rows_only():
    writer = Writer(30)
    writer.play(0, 5)
    batch = _sample(writer.buffer, 2, 4)
    fresh = Gaussian(*(jnp.full((HORIZON + 1, 4, 1), value) for value in (-7.0, 0.25)))
    after = replay.write_plans(writer.buffer, batch.slot, fresh)
    written = set(np.asarray(batch.slot).ravel()) - {30}
    changed = set(np.flatnonzero(np.asarray(after.plan.mean)[:, 0] == -7.0))
    assert changed == written
    assert set(np.flatnonzero(np.asarray(after.plan.std)[:, 0] == 0.25)) == written


def test_a_discarded_episode_cannot_be_drawn_and_the_next_one_can():
    writer = Writer(30)
    writer.play(0, 4)
    writer.play(1, 6, until=4)
    unchanged = replay.discard_episode(writer.buffer, jnp.bool_(False))
    jax.tree.map(np.testing.assert_array_equal, writer.buffer, unchanged)
    writer.buffer = replay.discard_episode(writer.buffer, jnp.bool_(True))
    assert set(np.asarray(_sample(writer.buffer, 0).reward[0])) == {0.0, 1, 2, 3}
    writer.play(2, 3)
    _check(_sample(writer.buffer, 1), [4, 6, 3])
    found = set(np.asarray(_sample(writer.buffer, 1).reward[0]))
    assert found == {0.0, 1, 2, 3, 2000, 2001, 2002}


@pytest.mark.parametrize("capacity", [13, 17, 40])
def test_discarded_episodes_leave_the_ring_in_order(capacity):
    writer, lengths = Writer(capacity), [5, 4, 6, 3, 5, 4, 7, 2]
    for episode, length in enumerate(lengths):
        if episode % 3 == 1:
            writer.play(episode, length, until=length - 1)
            writer.buffer = replay.discard_episode(writer.buffer, jnp.bool_(True))
            continue
        writer.play(episode, length)
        _check(_sample(writer.buffer, episode), lengths)
        found = set(np.asarray(_sample(writer.buffer, 3).reward[0]) // 1000)
        assert episode in found
        assert not any(number % 3 == 1 for number in found)
