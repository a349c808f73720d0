"""What a run leaves on disk, and how it survives."""

from pompc.runs.folder import EPISODES as EPISODES
from pompc.runs.folder import ROOT as ROOT
from pompc.runs.folder import SHIPPED as SHIPPED
from pompc.runs.folder import TABLES as TABLES
from pompc.runs.folder import append_rows as append_rows
from pompc.runs.folder import commit as commit
from pompc.runs.folder import cut_tables as cut_tables
from pompc.runs.folder import load_episodes as load_episodes
from pompc.runs.folder import load_metrics as load_metrics
from pompc.runs.folder import load_runs as load_runs
from pompc.runs.folder import open_run as open_run
from pompc.runs.folder import read_config as read_config
from pompc.runs.folder import read_provenance as read_provenance
from pompc.runs.folder import read_table as read_table
from pompc.runs.folder import write_config as write_config
from pompc.runs.folder import write_provenance as write_provenance
from pompc.runs.notebook import notebook_config as notebook_config
