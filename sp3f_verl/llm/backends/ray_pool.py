"""Copies of a model that work through rows side by side, on Ray Data.

Ray is imported when a pool runs and not before. Without RAY_ADDRESS a cluster of this machine is started and ends with
the program; with it the pool joins that cluster, whose nodes must have this package, and the model under the same path.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sp3f_verl.errors import BadInput

ROWS = 256  # that a copy takes at once: what a killed run has to do again, at most, times the copies


@dataclass(frozen=True)
class Pool:
    """How many copies, and what each takes.

    workers: None for one per GPU (with tensor_parallel GPUs each), or per node where the cluster has no GPU.
    """

    workers: int | None = None
    tensor_parallel: int = 1
    rows: int = ROWS

    def work(self, worker: type, arguments: dict[str, Any], blocks: list[Any]) -> Iterator[list[str]]:
        """What `worker(**arguments)` makes of the rows in Ray's blocks, in lists, in the order in which they are done.

        worker: a class; its instances are called with a list of rows (texts) and give a list of rows.
        """
        import ray
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        for handler in logging.getLogger("ray.data").handlers:  # plans and bars that are off; its file has them
            if isinstance(handler, logging.StreamHandler):
                handler.setLevel(logging.ERROR)
        context.issue_detectors_config.detectors = []  # every half minute they warn of memory that nobody asked for
        gpus = int(ray.cluster_resources().get("GPU", 0)) if os.environ.get("SP3F_DEVICE") != "cpu" else 0
        done = ray.data.from_arrow_refs(blocks).map_batches(
            _Rows,
            fn_constructor_args=(worker, arguments),
            batch_size=self.rows,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self._size(gpus, len(ray.nodes()))),
            num_gpus=self.tensor_parallel if gpus else 0,
            num_cpus=1,
        )
        for batch in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield batch.column("row").to_pylist()

    def _size(self, gpus: int, nodes: int) -> int:
        if not gpus:
            return self.workers or nodes
        most = gpus // self.tensor_parallel
        if most < (self.workers or 1):
            raise BadInput(
                f"--workers={self.workers or 1} with --tensor-parallel={self.tensor_parallel} needs more GPUs than the "
                f"cluster's {gpus}: give smaller numbers."
            )
        return self.workers or most


class Spool:
    """Rows on their way to a pool: they wait in Ray's object store, which spills to disk, not in this process."""

    def __init__(self, pool: Pool):
        self._pool, self._rows, self._blocks = pool, [], []

    def add(self, rows: list[str]) -> None:
        self._rows += rows
        while len(self._rows) >= self._pool.rows:
            self._put(self._rows[: self._pool.rows])
            del self._rows[: self._pool.rows]

    def work(self, worker: type, arguments: dict[str, Any]) -> Iterator[list[str]]:
        """`Pool.work` on all rows."""
        if self._rows:
            self._put(self._rows)
        return self._pool.work(worker, arguments, self._blocks) if self._blocks else iter(())

    def _put(self, rows: list[str]) -> None:
        import pyarrow as pa
        import ray

        _join(ray)
        self._blocks.append(ray.put(pa.table({"row": pa.array(rows, pa.string())})))


class _Rows:
    """The worker as Ray Data calls it."""

    def __init__(self, worker: type, arguments: dict[str, Any]):
        self._worker = worker(**arguments)

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        return pa.table({"row": pa.array(self._worker(table.column("row").to_pylist()), pa.string())})


def _join(ray: Any) -> None:
    if ray.is_initialized():
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    else:  # "local": else it joins whatever cluster it finds on this machine
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
