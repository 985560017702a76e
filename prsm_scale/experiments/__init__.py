"""Changes of a system, simulated and held against the system as it is."""
