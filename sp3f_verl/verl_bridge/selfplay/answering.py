"""The side of a self-play trainer that answers prompts: names of policies, requests, and what is kept of them."""

from sp3f_verl.errors import BadInput
from sp3f_verl.training.preference.reference_store import fingerprint
from sp3f_verl.training.preference.resume import workers_folder
from sp3f_verl.training.selfplay.triplets import Response, sampling_seed
from sp3f_verl.verl_bridge.selfplay.generation import Request


class Answering:
    """Mixed into SelfPlayTrainer, whose attributes it reads: config, settings, data, record, responses, servers,
    iteration, inside, global_steps, actor_rollout_wg; and `_names`, policy -> name, which it fills."""

    def _policy(self, t: int) -> str:
        """Names pi_t by its weights."""
        if t not in self._names:
            if t < self.iteration or self.inside:
                self._names[t] = self.record.manifest(t)["policy"]
            else:
                self._names[t] = fingerprint(str(workers_folder(self.config.trainer, self.global_steps)))
        return self._names[t]

    def _greedy_requests(self) -> list[Request]:
        wanted = self.settings.greedy_validation and "validation" in self.data
        return self._requests("validation", None) if wanted else []

    def _requests(self, split: str, t: int | None) -> list[Request]:
        """Sampling requests of iteration t for every row of a split, or greedy ones where t is None."""
        settings, length = self.settings.generation, self.config.sp3f.preference.max_length
        found = []
        for index, row in enumerate(self.data[split]):
            sampling = {"max_tokens": min(settings.max_tokens, length - len(row.prompt))}
            if t is None:
                sampling |= {"temperature": 0.0, "logprobs": False}
            else:
                seed = sampling_seed(settings.seed, t, split, index)
                sampling |= {"temperature": settings.temperature, "top_p": settings.top_p, "seed": seed}
                sampling |= {"logprobs": True}
            found.append(Request(row.prompt, sampling))
        return found

    def _ask(self, requests: list[Request], told: dict[str, float]) -> None:
        """Has the present policy answer those requests whose responses are not kept."""
        t, policy = self.iteration, self._policy(self.iteration)
        missing = self.responses.missing(policy, requests)
        if not missing:
            return
        if self.inside or self.servers is None:
            raise BadInput(f"{len(missing)} responses of iteration {t} are gone from {self.record.folder}; begin anew.")
        self.actor_rollout_wg.forget_optimiser()
        self.servers.take_weights(self.global_steps)
        settings = self.settings.generation
        told["generation/asked_again"] = self.responses.fill(policy, missing, self.servers, settings, f"policy {t}")
        self.servers.sleep()

    def _kept(self, t: int, split: str) -> list[Response]:
        policy = self._policy(t)
        return [self.responses.kept(policy, request) for request in self._requests(split, t)]
