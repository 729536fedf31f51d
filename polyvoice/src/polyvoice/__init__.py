"""Speech-to-speech translation with language models over discrete speech units."""
