"""The scaling-test controller: configurations, what runs them, and their results."""
