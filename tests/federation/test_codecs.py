"""What is packed for the wire, and how much of it is lost."""

from __future__ import annotations

import numpy as np

from fedbench.federation.codecs.half import Half
from fedbench.strategy import Message


def test_half_precision_takes_half_the_bytes_and_keeps_eleven_bits() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    far, exact = np.array([1e6, -1e6], np.float32), np.full(2, np.pi)
    sent: Message = {"w": values, "far": far, "exact": exact}
    packed = Half().encode(sent)
    assert packed["w"].nbytes == values.nbytes / 2
    heard = Half().decode(packed)
    np.testing.assert_allclose(heard["w"], values, rtol=2**-11, atol=2**-24)
    assert heard["far"].tolist() == [65504, -65504]
    assert heard["exact"].tolist() == exact.tolist()
