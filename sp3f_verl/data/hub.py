"""A split of a data set on the Hugging Face Hub as a parquet file, which is then read like one of the user's own."""

from collections.abc import Sequence
from pathlib import Path

from sp3f_verl.data.files import atomic_write
from sp3f_verl.errors import BadInput


def from_hub(
    path: Path,
    name: str,
    hub: str,
    split: str,
    columns: Sequence[str],
    mend: str,
    config: str | None = None,
    revision: str | None = None,
) -> Path:
    """The file at `path` with these columns, downloaded where it is not there yet. `name` and `mend` are for sentences.

    BadInput where the Hub cannot be reached, a column is not there, or the set's terms are not accepted.
    """
    if path.is_file():
        return path
    from datasets import load_dataset

    try:
        rows = load_dataset(hub, config, split=split, revision=revision)
        with atomic_write(path) as partial:
            rows.select_columns(list(columns)).to_parquet(str(partial))
    except Exception as error:  # of the network, the Hub or the file: `datasets` has no common class
        cause = " ".join(str(error).split())[:120]
        raise BadInput(f"{name}: {hub} cannot be loaded from the Hub ({cause}); {mend}.") from None
    return path
