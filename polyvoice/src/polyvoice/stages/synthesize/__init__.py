"""The speech synthesiser: units and a voice in, codec codes out; first level one by one, the others level by level."""
