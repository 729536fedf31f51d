"""The command line: one file per command, each parsing into a frozen dataclass and calling one library function."""
