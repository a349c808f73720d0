"""Every setting of a run, with its value, and the methods as rows of one table."""
