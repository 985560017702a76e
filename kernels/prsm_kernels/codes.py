"""Integer codes that kernels use."""

LAW_NONE = 0
"""Jitter is its mean, without a draw."""
LAW_EXPONENTIAL = 1
LAW_TABLE = 2
"""Any law, as a table of quantiles."""

TO_PRIMARY = 0
"""Round from the client to the primary."""
AMONG_REPLICAS = 1
"""Round from listed senders to listed receivers."""
TO_CLIENT = 2
"""Round from listed senders to the client."""
TO_ALL = 3
"""Round from the client to all replicas."""

DIRECT = 0
"""A link between each pair."""
ROUTED = 1
"""Unicast, store and forward along the shortest path."""
GOSSIP = 2
"""Flood: each node forwards a message once to its other neighbours."""

PROPAGATION, TRANSMISSION, CPU, QUEUEING, RETRANSMISSION, VIEW_CHANGE = range(6)
"""Columns of a latency breakdown."""
