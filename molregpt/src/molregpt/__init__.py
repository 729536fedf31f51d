"""Molecules to captions and captions to molecules, grounded in retrieved neighbours."""
