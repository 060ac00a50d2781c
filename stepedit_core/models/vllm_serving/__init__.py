"""The language model served by vLLM (extra ``vllm``): for the engine and for rollouts."""
