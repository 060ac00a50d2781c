"""Learning from rewards and preferences: reward model, DPO, GRPO and PPO."""

# Before transformers imports torchaudio, whose binary part does not load with every torch.
import stepedit_core.models.checkpoint.torchaudio_compat  # noqa: F401
