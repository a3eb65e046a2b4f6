"""sp3f_verl: multilingual post-training recipes for verl.

Imported in every process that imports verl (through the `verl.plugins` entry point), so it stays empty:
see `sp3f_verl.plugin` for what verl loads and `docs/architecture.md` for the rooms of the house.
"""

__version__ = "0.1.0"
