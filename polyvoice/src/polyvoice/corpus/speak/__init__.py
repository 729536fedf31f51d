"""Speaking the texts of a corpus: the same voice says both sides of a pair."""
