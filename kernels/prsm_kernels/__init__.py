"""Numba kernels of prsm-scale, usable on their own: they take arrays and import NumPy and Numba only."""

from .batch import make_scratch, simulate
from .delay import TABLE_SIDE, hop_delay, quantile_table, sample_hops
from .lanes import LANES
from .queueing import sort_lanes
from .quorum import kth_arrivals, kth_smallest
from .rng import draw_bits, stream_key, threefry2x32, uniform_pairs, uniforms
from .routing import count_transits, queue_waits, relay_waits, shortest_paths
from .types import Batch, Law, Machines, Paths, Rounds, Scratch

__all__ = [
    "LANES",
    "TABLE_SIDE",
    "Batch",
    "Law",
    "Machines",
    "Paths",
    "Rounds",
    "Scratch",
    "count_transits",
    "draw_bits",
    "hop_delay",
    "kth_arrivals",
    "kth_smallest",
    "make_scratch",
    "quantile_table",
    "queue_waits",
    "relay_waits",
    "sample_hops",
    "shortest_paths",
    "simulate",
    "sort_lanes",
    "stream_key",
    "threefry2x32",
    "uniform_pairs",
    "uniforms",
]
