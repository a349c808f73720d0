"""The paper: one agent, as pure functions."""
