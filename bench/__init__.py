"""The benchmark: each job beside the programs that people use for it today, on the same input, in the same run."""
