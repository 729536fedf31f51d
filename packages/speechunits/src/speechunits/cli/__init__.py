"""The command line: one file a command, each parsing into a frozen dataclass and calling one library function."""
