"""Tables of many runs: what results pages read, intervals, scores, published curves."""

from pompc.results.read_runs import Results as Results
from pompc.results.read_runs import collect as collect
from pompc.results.read_runs import compared_metrics as compared_metrics
from pompc.results.read_runs import compared_returns as compared_returns
from pompc.results.read_runs import digest as digest
