import os
from hydra.experimental.callback import Callback
class Preflight(Callback):
    def on_job_start(self, config, **kw):
        os.environ["SP3F_DEVICE"] = config.sp3f.device
        os.environ["SP3F_LOGICAL_GPUS"] = str(config.trainer.n_gpus_per_node)
