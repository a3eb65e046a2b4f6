"""The part of the preflight about a privileged teacher: what its servers can score, what its rows and context need."""

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.verl_bridge.preflight.files import train_rows
from sp3f_verl.verl_bridge.preflight.judge import GROUP_MANAGER, servers
from sp3f_verl.verl_bridge.rl.teacher import distill_of, prompt_ids_of, prompt_of, token_credit_of

RLSD = "rlsd"
EXACT = {"temperature": 1.0, "top_p": 1.0, "top_k": -1}  # of sampling whose log-probs are the policy's own


def token_credit(config: DictConfig) -> None:
    chosen = config.sp3f.get("token_credit")
    if chosen not in (None, RLSD):
        raise BadInput(f"sp3f.token_credit={chosen}{nearest(chosen, [RLSD])}; set it to {RLSD}, or null.")
    settings, rollout = token_credit_of(config), config.actor_rollout_ref.rollout
    if settings is None:
        return
    prompt_of(config)
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


def distill(config: DictConfig) -> None:
    """Do the settings of a distillation fit together, and what verl is told of it?"""
    settings, role = distill_of(config), config.actor_rollout_ref
    if settings is None:
        return
    prompt_of(config)
    what = f"sp3f.distill.teacher={settings.teacher}"
    if config.sp3f.get("token_credit"):
        raise BadInput("sp3f.token_credit beside sp3f.distill asks one teacher two things; set sp3f.token_credit=null.")
    if config.distillation.enabled != (settings.teacher != "live"):
        raise BadInput(f"{what} with distillation.enabled={config.distillation.enabled}; choose by teacher=NAME alone.")
    of_the_servers(config, what)
    if settings.support == "sampled":
        if role.rollout.temperature != 1:
            raise BadInput(
                f"actor_rollout_ref.rollout.temperature={role.rollout.temperature}, but sp3f.distill.support=sampled "
                "estimates from tokens drawn at 1; set it to 1."
            )
        return
    for key, value in (("model.use_fused_kernels", False), ("actor.ulysses_sequence_parallel_size", 1)):
        if OmegaConf.select(role, key) != value:
            raise BadInput(
                f"actor_rollout_ref.{key}={OmegaConf.select(role, key)}, but a divergence reads rows of logits; "
                f"set it to {str(value).lower()}, or sp3f.distill.support=sampled."
            )
    if settings.support == "full" and settings.teacher != "live":
        raise BadInput(f"sp3f.distill.support=full with {what}, whose servers answer k tokens; use topk.")
    most = OmegaConf.select(role, "rollout.engine_kwargs.vllm.max_logprobs", default=20)
    if most != -1 and most < settings.k:
        raise BadInput(
            f"actor_rollout_ref.rollout.engine_kwargs.vllm.max_logprobs={most} is less than sp3f.distill.k={settings.k}"
            "; set it to -1."
        )


def vocabulary(config: DictConfig) -> None:
    """A teacher's token ids mean the student's tokens."""
    settings = distill_of(config)
    if settings is None or settings.teacher == "live":
        return
    from transformers import AutoConfig, AutoTokenizer

    key = "distillation.teacher_models.teacher_model.model_path"
    path, own = OmegaConf.select(config, key), config.actor_rollout_ref.model
    if not path:
        raise BadInput(f"{key} is empty; name the teacher's model, or use teacher=live.")
    try:
        theirs, size = AutoTokenizer.from_pretrained(path), _rows(AutoConfig.from_pretrained(path))
    except Exception as error:  # whatever its files make transformers raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise BadInput(f"{key}={path} does not load ({reason}); give a Hugging Face model folder or name.") from None
    tokenizer, *_ = servers(config)
    whole = _rows(AutoConfig.from_pretrained(own.path, trust_remote_code=own.trust_remote_code))
    if theirs.get_vocab() != tokenizer.get_vocab() or size != whole:
        raise BadInput(
            f"{key}={path} has another vocabulary ({len(theirs)} tokens, {size} rows) than {own.path} "
            f"({len(tokenizer)}, {whole}), and they are compared token by token; give a model of the same."
        )


def _rows(settings) -> int:
    return settings.get_text_config().vocab_size


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


def needed_fields(config: DictConfig) -> tuple[str, ...]:
    prompt = prompt_of(config)
    return () if prompt is None else prompt.needed_fields


def room(config: DictConfig) -> None:
    """Do the servers take the longest of the teacher's prompts with a response?"""
    prompt = prompt_of(config)
    if prompt is None:
        return
    tokenizer, there, whole = servers(config)
    template = OmegaConf.to_container(config.data.get("apply_chat_template_kwargs") or OmegaConf.create())
    longest, response = 0, config.data.max_response_length
    for row in train_rows(config):
        messages = prompt.messages(row["prompt"], row)
        longest = max(longest, len(prompt_ids_of(tokenizer, template, messages)))
    needed = longest + response + 1
    if needed > there:
        mend = f"set it to {needed}, or null for the model's {whole}" if needed <= whole else "leave long rows out"
        raise BadInput(
            f"actor_rollout_ref.rollout.max_model_len={there}, but a privileged prompt takes up to {longest} tokens "
            f"beside a response of {response}; {mend}."
        )
