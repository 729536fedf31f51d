"""Molecules that nobody described: what a description may mean beside the molecules of its neighbours.

structures.py  known molecules, and which of them are nearest to a given one
forms.py       the same molecule as acid, as base, as zwitterion
search.py      from the neighbours of a description to such molecules, each with what can be told of it at once
"""
