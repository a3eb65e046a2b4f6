"""An agent loop with faults at step 1: rollout 2 of the first prompt fails late, rollout 1 of the second is empty."""

import asyncio

from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

_order: list[str] = []  # prompts of step 1 as this worker met them


class FaultyAgentLoop(SingleTurnAgentLoop):
    async def run(self, sampling_params, **kwargs):
        uid, session = kwargs["uid"], int(kwargs["session_id"])
        if int(kwargs["global_steps"]) != 1:
            return await super().run(sampling_params, **kwargs)
        if uid not in _order:
            _order.append(uid)
        if _order.index(uid) == 0 and session == 2:
            await asyncio.sleep(1.0)
            raise ValueError("injected: rollout 2 of the first prompt fails late")
        output = await super().run(sampling_params, **kwargs)
        if _order.index(uid) == 1 and session == 1:
            output.response_ids, output.response_mask, output.response_logprobs = [], [], None
        return output
