"""verl's RL dataset over rows of either layout (`data.custom_cls` of the recipes)."""

from verl.utils.dataset.rl_dataset import RLHFDataset

from sp3f_verl.data.rows import SOURCES, canonical
from sp3f_verl.errors import BadInput
from sp3f_verl.log import log

# What verl adds to a row or reads from its columns. Columns that no one reads do not travel with every rollout.
VERL_KEYS = (
    *("raw_prompt", "dummy_tensor", "index", "tools_kwargs", "interaction_kwargs"),
    *("agent_name", "__rollout_n__", "__do_sample__"),
)


class SP3FDataset(RLHFDataset):
    """`RLHFDataset` whose rows carry the canonical columns of `sp3f_verl.data.rows` under constant names."""

    def _read_files_and_tokenize(self):
        self.prompt_key = next((key for key in SOURCES["prompt"] if key in self._columns()), self.prompt_key)
        super()._read_files_and_tokenize()

    def maybe_filter_out_long_prompts(self, dataframe=None):
        """verl's, which is silent about what it leaves out, down to nothing."""
        kept = super().maybe_filter_out_long_prompts(dataframe)
        left_out, rows = len(dataframe) - len(kept), f"{len(dataframe)} rows of {', '.join(self.data_files)}"
        if not len(kept):
            raise BadInput(
                f"none of the {rows} is left: their prompts have more than data.max_prompt_length="
                f"{self.max_prompt_length} tokens, or the chat template refuses them; raise it, or give other rows."
            )
        if left_out:
            log.warning(
                f"{left_out} of {rows} are left out: prompts of more than data.max_prompt_length="
                f"{self.max_prompt_length} tokens, or which the chat template refuses."
            )
        return kept

    def _columns(self) -> set[str]:
        import pyarrow.parquet as pq

        return set(pq.read_schema(self.data_files[0]).names)

    def __getitem__(self, item):
        row = super().__getitem__(item)
        return {**{key: row[key] for key in VERL_KEYS if key in row}, **canonical(row)}
