"""One module a subject; each is a command that writes rows (see `bench.suite`)."""
