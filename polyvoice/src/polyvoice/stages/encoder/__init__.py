"""Training a small HuBERT (arXiv 2106.07447): speech to the features whose clusters are the units.

Labels are units of any other encoder, one a frame, as `speechunits extract` writes them: clusters of MFCC, of a
teacher, or of the last round's own layer. The result is a checkpoint in fairseq's layout, which
`speechunits.encoders.hubert.load_fairseq_hubert` reads like a published one.
"""
