"""A source's split from the Hugging Face Hub as a parquet file, which is then read like one of the user's own."""

from pathlib import Path

from sp3f_verl.architectures.sources import Source
from sp3f_verl.data import hub


def from_hub(name: str, source: Source, folder: Path) -> Path:
    """The file `<name>.parquet` in the folder, downloaded where it is not there yet. BadInput as in `data.hub`."""
    mend = f"download it elsewhere and give --sources {name}=FILE"
    return hub.from_hub(folder / f"{name}.parquet", name, source.hub, source.split, source.columns, mend)
