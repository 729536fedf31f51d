"""Which of the neighbours that a search found has the answer most like the right one: learned from the pool itself.

likeness.py    how alike two answers are: captions, molecules
checks.py      what a caption says that can be checked of a molecule
molecules.py   a molecule beside its neighbours, in figures
captions.py    a caption beside its neighbours, in figures
network.py     from these figures to the overlap that is to be expected
"""
