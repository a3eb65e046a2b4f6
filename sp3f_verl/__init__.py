"""sp3f_verl: multilingual post-training recipes for verl.

Imported in every process that imports verl (through the `verl.plugins` entry point), so it stays empty:
see `sp3f_verl.plugin` for what verl loads and `docs/architecture.md` for the rooms of the house.
"""

from pathlib import Path

__version__ = "0.1.0"
RECIPES = Path(__file__).with_name("recipes")  # in a checkout a link to the folder at the top; in a wheel the files
