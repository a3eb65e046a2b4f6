"""The part of the preflight about a privileged teacher: what its servers can score, what its rows and context need."""

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.rows import canonical
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.training.distill.prompt import TeacherPrompt, load_prompt
from sp3f_verl.verl_bridge.preflight_files import files
from sp3f_verl.verl_bridge.preflight_judge import GROUP_MANAGER, servers
from sp3f_verl.verl_bridge.teacher import prompt_ids_of, token_credit_of

RLSD = "rlsd"
EXACT = {"temperature": 1.0, "top_p": 1.0, "top_k": -1}  # of sampling whose log-probs are the policy's own


def token_credit(config: DictConfig) -> None:
    chosen = config.sp3f.get("token_credit")
    if chosen not in (None, RLSD):
        raise BadInput(f"sp3f.token_credit={chosen}{nearest(chosen, [RLSD])}; set it to {RLSD}, or null.")
    settings, rollout = token_credit_of(config), config.actor_rollout_ref.rollout
    if settings is None:
        return
    load_prompt(settings.prompt, "sp3f.rlsd.prompt")
    what = f"sp3f.token_credit={RLSD}"
    of_the_servers(config, what)
    for name, value in EXACT.items():
        if rollout[name] != value:
            raise BadInput(
                f"actor_rollout_ref.rollout.{name}={rollout[name]}, but {what} compares the log-probs of sampling with "
                f"a teacher's; set it to {value:g}."
            )
    if not rollout.calculate_log_probs:
        raise BadInput(
            f"{what} reads the log-probs of sampling; set actor_rollout_ref.rollout.calculate_log_probs=true."
        )


def of_the_servers(config: DictConfig, what: str) -> None:
    """BadInput where no rollout server can score a response while the weights are those that wrote it."""
    rollout, mode = config.actor_rollout_ref.rollout, config.trainer.v1.trainer_mode
    if rollout.name != "vllm":
        raise BadInput(
            f"actor_rollout_ref.rollout.name={rollout.name}, but {what} asks vLLM's rollout servers; set vllm."
        )
    if rollout.agent.get("agent_loop_manager_class") != GROUP_MANAGER:
        raise BadInput(
            f"agent_loop_manager_class={rollout.agent.get('agent_loop_manager_class')}, but {what} is asked for in "
            f"{GROUP_MANAGER}; set it to that."
        )
    if mode != "sync":
        raise BadInput(
            f"trainer.v1.trainer_mode={mode} lets the servers' weights change while {what} asks them; set it to sync."
        )


def teacher_prompt(config: DictConfig) -> TeacherPrompt | None:
    """What the run's teacher reads; None where it has none."""
    settings = token_credit_of(config)
    return None if settings is None else load_prompt(settings.prompt, "sp3f.rlsd.prompt")


def needed_fields(config: DictConfig) -> tuple[str, ...]:
    prompt = teacher_prompt(config)
    return () if prompt is None else prompt.needed_fields


def room(config: DictConfig) -> None:
    """Do the servers take the longest of the teacher's prompts with a response?"""
    prompt = teacher_prompt(config)
    if prompt is None:
        return
    tokenizer, there, whole = servers(config)
    template = OmegaConf.to_container(config.data.get("apply_chat_template_kwargs") or OmegaConf.create())
    longest, response = 0, config.data.max_response_length
    paths = next(paths for key, paths in files(config) if key == "data.train_files")
    for path in paths:
        for row in map(canonical, read_parquet(path)):
            messages = prompt.messages(row["prompt"], row)
            longest = max(longest, len(prompt_ids_of(tokenizer, template, messages)))
    needed = longest + response + 1
    if needed > there:
        mend = f"set it to {needed}, or null for the model's {whole}" if needed <= whole else "leave long rows out"
        raise BadInput(
            f"actor_rollout_ref.rollout.max_model_len={there}, but a privileged prompt takes up to {longest} tokens "
            f"beside a response of {response}; {mend}."
        )
