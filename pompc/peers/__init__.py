"""The public implementations, driven as ours are: for their speed and for their learning curves."""
