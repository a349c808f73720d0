"""The benchmark: our programs and the public implementations', timed in turn on one machine."""
