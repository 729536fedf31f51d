"""Fast decoding on a CPU: a decoder's weights packed for reading, and compiled code that runs all layers of a step."""
