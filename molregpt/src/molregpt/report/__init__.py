"""Pages for people: the report of an evaluation and the page of answered samples."""
