"""Create named random streams: the same name gives the same numbers, at any time and in any order."""

import hashlib
import zlib

import numpy as np


def stream(seed: int, generation: int, slot: int, purpose: str) -> np.random.Generator:
    """Return the generator named by (run seed, generation, slot, purpose).

    Streams with different names are independent: the name is the spawn key of a
    `numpy.random.SeedSequence`. They depend on nothing else, such as time, order or the number of workers.
    """
    key = (generation, slot, zlib.crc32(purpose.encode()))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=key)))


def training_seed(seed: int, generation: int, slot: int) -> int:
    """Return the seed, in [0, 2**31), for training the member born at (generation, slot)."""
    return int(stream(seed, generation, slot, "training").integers(2**31))


def genome_seed(seed: int, key: str) -> int:
    """Return the seed, in [0, 2**31), for training the hyperparameters that `key` identifies."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:4]) % 2**31


def initial_seed(seed: int) -> int:
    """Return the seed, in [0, 2**31), of the parameters that all founders of a run share."""
    return int(stream(seed, 0, 0, "initial").integers(2**31))


def deme_seed(seed: int, deme: int) -> int:
    """Return the seed, in [0, 2**31), that names the streams of a deme's strategy."""
    return int(stream(seed, 0, deme, "deme").integers(2**31))


def network_seed(training_seed: int, network: int) -> int:
    """Return the seed, in [0, 2**31), of a network of a member; the member's seed for network 0."""
    if network == 0:
        return training_seed
    key = np.random.SeedSequence(entropy=training_seed, spawn_key=(0, network))
    return int(np.random.Generator(np.random.PCG64(key)).integers(2**31))


def leg_seed(training_seed: int, leg: int) -> int:
    """Return the seed, in [0, 2**31), of a leg of a life; the training seed itself for leg 0."""
    if leg == 0:
        return training_seed
    key = np.random.SeedSequence(entropy=training_seed, spawn_key=(leg,))
    return int(np.random.Generator(np.random.PCG64(key)).integers(2**31))
