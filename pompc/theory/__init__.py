"""The paper's theory as experiments: tabular policy iteration and the variance of gradients."""
