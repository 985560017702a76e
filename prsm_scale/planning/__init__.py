"""How many replicas meet given targets, on which machines and lines, and by which steps to get there."""
