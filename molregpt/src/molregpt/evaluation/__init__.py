"""Questions over a whole table: a run that survives being killed, its scores beside the baseline, its rows."""
