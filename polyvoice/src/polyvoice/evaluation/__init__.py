"""Speech translated and judged: scores with intervals beside what the reference speech itself reaches."""
