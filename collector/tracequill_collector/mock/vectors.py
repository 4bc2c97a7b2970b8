"""Embeddings that mean something: texts that share words point the same way.

A vector is the sum of one fixed direction for each word stem, made unit length, as 32-bit
floats; the same text always has the same vector. No vendor's format is known here.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from functools import lru_cache

from tracequill_collector.mock.words import stems

_STEMS_MOST = 512


def unit_vector(text: str, dimensions: int) -> list[float]:
    """Give the vector of *text*: *dimensions* numbers that a 32-bit float holds exactly."""
    counts = Counter(stems(text)) or Counter({text.strip() or " ": 1})
    total = [0.0] * dimensions
    for stem, count in counts.most_common(_STEMS_MOST):
        weight = math.sqrt(count)
        for index, sign in enumerate(_direction(stem, dimensions)):
            total[index] += weight * (sign - 127.5)
    length = math.sqrt(sum(value * value for value in total)) or 1.0
    packed = pack([value / length for value in total])
    return list(struct.unpack(f"<{dimensions}f", packed))


def pack(vector: list[float]) -> bytes:
    """Give *vector* as little-endian 32-bit floats, one after the other."""
    return struct.pack(f"<{len(vector)}f", *vector)


@lru_cache(maxsize=1024)
def _direction(stem: str, dimensions: int) -> bytes:
    return hashlib.shake_256(stem.encode()).digest(dimensions)
