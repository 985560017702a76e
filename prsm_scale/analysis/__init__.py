"""What stored results say: scaling efficiency and fitted laws. Nothing here runs a simulation."""
