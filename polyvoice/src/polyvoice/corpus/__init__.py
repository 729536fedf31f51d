"""Parallel speech: manifests of pairs, importers of published corpora, speaking of texts, augmentation."""
