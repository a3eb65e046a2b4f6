"""Other projects' layouts of the same rows, one a file: `data_prep.convert` reads and writes them.

A row that cannot be used is left out and counted: `drop(reason)`.
"""

from sp3f_verl.data.layouts import croco, mdpo, sp3f, spin, trl, verl
from sp3f_verl.data.layouts.form import Form

LAYOUTS: dict[str, tuple[Form, ...]] = {
    "sp3f": sp3f.FORMS,
    "croco": croco.FORMS,
    "mdpo": mdpo.FORMS,
    "spin": spin.FORMS,
    "trl": trl.FORMS,
    "verl": verl.FORMS,
}

__all__ = ["LAYOUTS", "Form"]
