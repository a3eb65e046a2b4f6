"""verl's actor worker, with our head."""

from verl.single_controller.base.decorator import Dispatch, register
from verl.workers.engine_workers import ActorRolloutRefWorker

from sp3f_verl.verl_bridge.preference import head


class PreferenceWorker(ActorRolloutRefWorker):
    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def init_model(self):
        super().init_model()
        head.install(self.actor.engine)
