"""Numba kernels of prsm-scale, usable on their own: they take arrays and import NumPy and Numba only."""

from .batch import make_scratch, simulate
from .delay import TABLE_SIDE, hop_delay, quantile_table, sample_hops
from .event_state import grow, make_state, record_margin
from .event_types import EventLoad, EventState, EventTable
from .events import begin_events, run_events
from .lanes import LANES
from .paths import path_tree, paths_around, shortest_paths
from .queueing import handled_ms, sort_jobs, sort_lanes, virtual_waits
from .quorum import kth_arrivals, kth_smallest
from .rng import draw_bits, stream_key, threefry2x32, uniform_pairs, uniforms
from .routing import count_copies, count_floods, count_transits, path_sums, queue_waits, relay_waits
from .types import Batch, Law, Machines, Paths, Rounds, Scratch

__all__ = [
    "LANES",
    "TABLE_SIDE",
    "Batch",
    "EventLoad",
    "EventState",
    "EventTable",
    "Law",
    "Machines",
    "Paths",
    "Rounds",
    "Scratch",
    "begin_events",
    "count_copies",
    "count_floods",
    "count_transits",
    "draw_bits",
    "grow",
    "handled_ms",
    "hop_delay",
    "kth_arrivals",
    "kth_smallest",
    "make_scratch",
    "make_state",
    "path_sums",
    "path_tree",
    "paths_around",
    "quantile_table",
    "queue_waits",
    "record_margin",
    "relay_waits",
    "run_events",
    "sample_hops",
    "shortest_paths",
    "simulate",
    "sort_jobs",
    "sort_lanes",
    "stream_key",
    "threefry2x32",
    "uniform_pairs",
    "uniforms",
    "virtual_waits",
]
