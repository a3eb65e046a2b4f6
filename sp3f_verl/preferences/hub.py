"""A source's split from the Hugging Face Hub as a parquet file, which is then read like one of the user's own."""

import os
from pathlib import Path

from sp3f_verl.errors import BadInput
from sp3f_verl.preferences.sources import Source


def from_hub(name: str, source: Source, folder: Path) -> Path:
    """The file `<name>.parquet` in the folder, downloaded where it is not there yet.

    BadInput where `datasets` is not installed, the Hub cannot be reached, or the set's terms are not accepted.
    """
    path = folder / f"{name}.parquet"
    if path.is_file():
        return path
    mend = f"download it elsewhere and give --sources {name}=FILE"
    try:
        from datasets import load_dataset
    except ImportError:
        raise BadInput(
            f"{name}: {source.hub} comes by `pip install datasets`, which is not installed; or {mend}."
        ) from None
    partial = path.with_suffix(".partial")
    try:
        rows = load_dataset(source.hub, split=source.split)
        folder.mkdir(parents=True, exist_ok=True)
        rows.select_columns(list(source.columns)).to_parquet(str(partial))
    except Exception as error:  # of the network, the Hub or the file: `datasets` has no common class
        told = " ".join(str(error).split())[:120]
        raise BadInput(f"{name}: {source.hub} cannot be loaded from the Hub ({told}); {mend}.") from None
    os.replace(partial, path)
    return path
