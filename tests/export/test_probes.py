"""Probes are enough, end with held-out text first, and are the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from kd.export.probes import Probes, make_probes
from kd.models.contract import SpecialTokens


def _probes(held_out: range, lengths: tuple[int, ...], seed: int = 0) -> Probes:
    special = SpecialTokens(bos=1, eos=2, pad=0)
    return make_probes(held_out, lengths=lengths, vocab_size=50, special=special, generator=np.random.default_rng(seed))


@pytest.mark.parametrize("lengths", [(16,), (32, 64), (64, 128), (128,)])
def test_every_length_gets_eight_sequences_and_512_positions(lengths: tuple[int, ...]) -> None:
    """Short lengths get more sequences, so that decoding can be measured on enough positions."""
    probes = _probes(range(0), lengths)
    assert len(probes.full) >= 8
    assert len(probes.full) * min(lengths) >= 512
    assert len(probes.full) * probes.num_rows >= 512
    assert all(len(ids) == max(lengths) for ids in probes.full)


def test_held_out_text_comes_first_and_the_rest_is_drawn() -> None:
    """Whole windows of text are used, and what is missing is counted as drawn."""
    probes = _probes(range(200), (64,))
    assert probes.num_held_out == 3
    assert probes.full[:3] == (tuple(range(64)), tuple(range(64, 128)), tuple(range(128, 192)))
    assert len(probes.full) == 8


def test_no_more_text_is_read_than_is_used() -> None:
    """A long data set costs no more than a short one."""
    probes = _probes(range(10**12), (64,))
    assert probes.num_held_out == 8


def test_adversarial_probes_repeat_a_token_use_special_ones_and_stand_alone() -> None:
    """One token for ever, control tokens alone, and a single token."""
    repeated, special, alone = _probes(range(0), (64,)).adversarial
    assert len(set(repeated)) == 1
    assert set(special) == {0, 1, 2}
    assert alone == (1,)


def test_probes_follow_their_seed() -> None:
    """Equal seeds give equal probes, others do not."""
    assert _probes(range(0), (64,), 3) == _probes(range(0), (64,), 3)
    assert _probes(range(0), (64,), 3) != _probes(range(0), (64,), 4)
