"""The loop around the agents: environments, clocks, tables, evaluations."""
