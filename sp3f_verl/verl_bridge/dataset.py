"""verl's RL dataset over rows of either layout (`data.custom_cls` of the recipes)."""

from verl.utils.dataset.rl_dataset import RLHFDataset

from sp3f_verl.data.rows import SOURCES, canonical

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

    def _columns(self) -> set[str]:
        import pyarrow.parquet as pq

        return set(pq.read_schema(self.data_files[0]).names)

    def __getitem__(self, item):
        row = super().__getitem__(item)
        return {**{key: row[key] for key in VERL_KEYS if key in row}, **canonical(row)}
