"""Keys that have no place below a recipe's `args:`, and what to write instead. Torch-free; checks nothing."""

RENAMED = {
    "lr": "write learning_rate",
    "epochs": "write num_train_epochs",
    "batch_size": "write global_batch_size in the stage",
    "warmup_ratio": "renamed in transformers 5: write warmup_steps: 0.03 (a share below 1)",
    "gradient_checkpointing": "renamed in transformers 5: write activation_checkpointing",
    "gradient_checkpointing_kwargs": "renamed in transformers 5: write activation_checkpointing_kwargs",
    "group_by_length": "gone: micro-batches already hold rows of similar length",
    "torch_dtype": "renamed in transformers 5, and of the model: write dtype in its entry under models:",
    "dtype": "of the model: write it in its entry under models:",
    "max_prompt_length": "gone from trl: write max_length in the stage; longer rows are dropped and counted",
    "max_seq_length": "gone from trl: write max_length in the stage; longer rows are dropped and counted",
    "overwrite_output_dir": "gone: a changed recipe gets a new folder, an interrupted one goes on",
    "logging_dir": "gone: metrics are in the stage's metrics.jsonl",
    "save_safetensors": "gone: weights are always safetensors",
    "no_cuda": "renamed in transformers 5: write use_cpu",
    "evaluation_strategy": "renamed in transformers 5: write eval_strategy",
    "per_gpu_train_batch_size": "gone: write global_batch_size in the stage",
}
"""Keys of older releases → what to write."""

NEIGHBOURS = {
    "of the stage: write it beside args:": ("max_length", "disable_dropout"),
    "of the loss: write it in loss:": ("beta", "loss_type", "label_smoothing"),
    "of trl: write sft_weight in loss:": ("loss_weights", "rpo_alpha"),
    "of trl: the reference is computed once, with lora: it is the model with its adapters off": (
        "precompute_ref_log_probs",
        "precompute_ref_batch_size",
    ),
    "of trl: completions are trained on, and nothing else": ("completion_only_loss", "assistant_only_loss"),
    "of trl: micro-batches hold rows of similar length; write max_tokens_per_batch in the stage": (
        *("packing", "packing_strategy", "eval_packing", "padding_free", "pad_to_multiple_of"),
    ),
    "of trl: rows above max_length are dropped and counted, never cut": ("truncation_mode",),
    "of trl: rows are tokenised once, in this process": ("dataset_num_proc",),
    "of trl: every epoch is shuffled, by the recipe's seed": ("shuffle_dataset",),
    "of trl: write data and columns in the stage": ("dataset_text_field", "dataset_kwargs"),
    "of trl: not supported here": (
        *("ld_alpha", "f_divergence_type", "f_alpha_divergence_coef", "use_weighting", "discopop_tau"),
        *("sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"),
        *("router_aux_loss_coef", "activation_offloading"),
    ),
    "of peft: write r, lora_alpha, lora_dropout, target_modules in lora:": (
        *("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"),
    ),
    "of trl: write lora: in the stage, or leave it out": ("use_peft",),
    "of the model: write it in its entry under models:": (
        *("model_name_or_path", "attn_implementation", "load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type"),
        "chat_template",
    ),
    "of the model: write revision in its entry under models:": ("model_revision",),
    "of the model: write bnb_4bit_use_double_quant in its entry under models:": ("use_bnb_nested_quant",),
    "of the alignment handbook: write data in the stage, one training split; a mix stage blends several": (
        *("dataset_mixer", "dataset_mixture", "dataset_splits", "dataset_configs", "dataset_name"),
        *("dataset_config", "dataset_train_split", "dataset_test_split"),
    ),
    "of the alignment handbook: rows are tokenised once, in this process": ("preprocessing_num_workers",),
    "of the model: write dtype, revision, trust_remote_code, chat_template in its entry under models:": (
        *("model_init_kwargs", "trust_remote_code", "chat_template_path"),
    ),
    "of the tokenizer: set it in its tokenizer_config.json": ("eos_token", "pad_token"),
}
"""What to write → keys of trl, peft, or another place of the recipe."""

_BATCH = "derived from global_batch_size and max_tokens_per_batch: write these in the stage"
_EVAL = "set by the plan of batches, and by whether eval_strategy is given"
_HUB = "nothing is uploaded while training"
OWNED = {
    "output_dir": "set by the run: results lie in the stage's folder",
    "per_device_train_batch_size": _BATCH,
    "gradient_accumulation_steps": _BATCH,
    "auto_find_batch_size": _BATCH,
    "train_sampling_strategy": _BATCH,
    "length_column_name": _BATCH,
    "dataloader_drop_last": _BATCH,
    "accelerator_config": _BATCH,
    "average_tokens_across_devices": "set by the loss, which is exact over ranks",
    "remove_unused_columns": "set by the plan of batches",
    "ddp_find_unused_parameters": "off: every parameter has a gradient in every micro-batch",
    "disable_tqdm": "set: progress is one bar of the run's own",
    "label_names": "set by the plan of batches",
    "include_num_input_tokens_seen": "tokens a second are in timings.jsonl",
    "seed": "write seed at the recipe's top",
    "data_seed": "write seed at the recipe's top",
    "label_smoothing_factor": "would be ignored: for preferences write label_smoothing in loss:",
    "neftune_noise_alpha": "not supported: a reference model would see other embeddings",
    "use_liger_kernel": "not supported: its losses bypass ours",
    "use_cache": "off while training",
    "logging_nan_inf_filter": "set: a loss that is not finite stops the run and names its problems",
    "resume_from_checkpoint": "an interrupted stage goes on by itself",
    "ignore_data_skip": "set: a resumed run sees the data that were left",
    "save_only_model": "set: checkpoints hold what resuming needs",
    "enable_jit_checkpoint": "checkpoints are written by save_steps",
    "per_device_eval_batch_size": _EVAL,
    "eval_accumulation_steps": _EVAL,
    "do_train": _EVAL,
    "do_eval": _EVAL,
    "do_predict": _EVAL,
    "push_to_hub": _HUB,
    "hub_model_id": _HUB,
    "hub_strategy": _HUB,
    "hub_token": _HUB,
    "hub_private_repo": _HUB,
    "hub_always_push": _HUB,
    "hub_revision": _HUB,
    "fsdp": "of the launcher: write it in the accelerate file that launch.config_file names",
    "fsdp_config": "of the launcher: write it in the accelerate file that launch.config_file names",
    "deepspeed": "of the launcher: write it in the accelerate file that launch.config_file names",
}
"""Arguments that this toolkit sets itself → why, or where to write it."""

REFUSED = RENAMED | OWNED | {key: line for line, keys in NEIGHBOURS.items() for key in keys}
"""Key → why, or what to write."""
