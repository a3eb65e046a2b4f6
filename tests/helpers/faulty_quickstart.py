"""`sp3f quickstart` whose RL stage rolls out through FaultyAgentLoop and credits tokens by a teacher; it takes the
arguments of `sp3f`.

Its other stages, and every check of what was done before, are the quickstart's own.
"""

import sys
from pathlib import Path

from sp3f_verl import cli
from sp3f_verl.quickstart import progress

LOOPS = Path(__file__).with_name("faulty_agent_loop.yaml")
run = progress.run


def run_with_faults(stage: str, command: list[str], *rest, **options) -> None:
    if stage == "sp3f":
        rollout = "actor_rollout_ref.rollout"
        command += [f"{rollout}.agent.agent_loop_config_path={LOOPS}", f"{rollout}.agent.default_agent_loop=faulty"]
        command += ["sp3f.token_credit=rlsd", f"{rollout}.max_model_len=512"]  # the teacher reads the solution, too
    run(stage, command, *rest, **options)


if __name__ == "__main__":
    progress.run = run_with_faults
    sys.exit(cli.main())
