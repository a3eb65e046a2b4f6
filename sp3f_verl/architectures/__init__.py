"""Preference sets: the English base set of five public sources, and sets in other languages made from it."""
