"""U-XLM: one decoder that turns source units into target units, with text as a help where there is some."""
