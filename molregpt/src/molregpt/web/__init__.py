"""A page in the browser: draw or type a molecule, or describe one; see neighbours, prompt, answer and its checks."""
