"""Who is primary of an operation of the events engine, and who takes part."""

from ._jit import inlined


@inlined
def primary_in(state, slot, view):
    """Primary of an operation in a view, or of the view to which a view change leads."""
    first, n = view + state.turn[slot], state.idle.size
    return first if first < n else first % n


@inlined
def role_in(state, slot, view, node):
    """0 for the operation's primary in a view, 1 for a backup."""
    return 0 if primary_in(state, slot, view) == node else 1


@inlined
def still_in(state, node):
    """Whether a replica works, and takes part in the view that it is in."""
    return state.alive[node] != 0 and state.wanted[node] == state.in_view[node]
