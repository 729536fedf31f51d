"""Molecules to neighbours: SMILES, fingerprints, exact similarity search and BM25."""
