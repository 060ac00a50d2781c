"""Step1 as a transformers model: a pre-norm decoder, grouped-query attention, square-root ALiBi.

Layer layout and parameter names are those of the public checkpoint, so its files load
without renaming. There are no biases and no rotary or learned positions; the output head is
separate from the embedding. Importing this module registers ``model_type`` ``step1`` with
``AutoConfig``, ``AutoModel`` and ``AutoModelForCausalLM``, so no remote code is ever needed.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    DynamicCache,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from stepedit_core.models.lm.step1.configuration import Step1Config
from stepedit_core.models.lm.step1.layers import Step1RMSNorm
from stepedit_core.models.lm.step1.network import StackParts, make_head

__all__ = ["Step1ForCausalLM", "Step1Model"]

_CACHE = "cache" if hasattr(BaseModelOutputWithPast(), "cache") else "past_key_values"
"""Name of the cache in outputs: transformers 5.24 warns of the one that earlier releases have."""


class Step1PreTrainedModel(PreTrainedModel):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """What transformers must know of the architecture."""

    config_class = Step1Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["Step1DecoderLayer"]  # type: ignore[misc,unused-ignore]
    # transformers 5.24 calls the cache ``cache``; releases before it, ``past_key_values``.
    _skip_keys_device_placement: ClassVar[list[str]] = ["cache", "past_key_values"]  # type: ignore[misc,unused-ignore]
    # The bias is part of the model, so the attention is always our own call of torch's
    # scaled_dot_product_attention; "eager" would be the same arithmetic, only slower.
    _supports_sdpa = True

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, Step1RMSNorm):
            nn.init.ones_(module.weight)


def _one_cache(cache: Any, past_key_values: Any) -> Any:
    """Return the cache under whichever of its two names it was given.

    Raises:
        ValueError: if it was given under both.
    """
    if cache is not None and past_key_values is not None:
        raise ValueError("give the cache once: cache and past_key_values are the same")
    return past_key_values if cache is None else cache


def _key_validity(mask: Tensor | None) -> Tensor | None:
    """Return bool ``(batch, keys)``, False at padding; None where nothing is padded.

    A 4-d mask, as transformers makes for static caches, is read at its last query row.
    """
    if mask is None:
        return None
    if mask.dim() == 4:
        mask = mask[:, 0, -1]
    valid = mask if mask.dtype == torch.bool else mask > (-1 if mask.is_floating_point() else 0)
    # On an accelerator the question would stall the queue; there the mask is always used.
    if valid.device.type == "cpu" and bool(valid.all()):
        return None
    return valid


class Step1Model(Step1PreTrainedModel, StackParts):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """The decoder stack without the output head."""

    def __init__(self, config: Step1Config) -> None:
        """Make embedding, layers and the last norm."""
        super().__init__(config)
        self.make_parts(config)
        self.gradient_checkpointing = False
        self.post_init()  # type: ignore[no-untyped-call,unused-ignore]

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table."""
        return self.embed_tokens

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        alignment: Tensor | None = None,
        cache: Any = None,
        **_: Any,
    ) -> Any:
        """Return the hidden states of all rows.

        Distances are slot differences, which padding on either side leaves unchanged, so
        ``position_ids`` are neither needed nor read.

        Args:
            input_ids: int64, ``(batch, rows)``.
            attention_mask: ``(batch, cached + rows)``, 0 at padding (left or right).
            past_key_values: a transformers ``Cache``, or ``StaticKV``.
            inputs_embeds: ``(batch, rows, hidden)``, instead of ``input_ids``.
            use_cache: make and return a cache; default as in the config.
            output_hidden_states: also return the embedding output and every layer's output,
                the last one after the final norm.
            return_dict: False returns a tuple.
            alignment: float32 ``(batch, columns)`` of ``alignment_tensor``, for models with a
                ``source_alignment`` and no others.
            cache: the name of ``past_key_values`` from transformers 5.24 on.

        Raises:
            ValueError: if both or neither of ids and embeddings are given, or two caches.
        """
        past_key_values = _one_cache(cache, past_key_values)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        x: Tensor = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = self.config.use_cache if use_cache is None else use_cache
        checkpoint = self.gradient_checkpointing and self.training
        if checkpoint:
            use_cache, past_key_values = False, None
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        start = 0 if past_key_values is None else past_key_values.get_seq_length()
        if isinstance(start, Tensor):
            start = start.clone()  # static caches count in place while layers run
        bias = self.bias(x.shape[1], start, _key_validity(attention_mask), alignment)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        states = [x]
        for layer in self.layers:
            if checkpoint:
                x = self._gradient_checkpointing_func(layer.__call__, x, bias)
            else:
                x = layer(x, bias, past_key_values)
            states.append(x)
        states[-1] = x = self.norm(x)
        output = BaseModelOutputWithPast(
            last_hidden_state=x,
            hidden_states=tuple(states) if output_hidden_states else None,
            **{_CACHE: past_key_values if use_cache else None},
        )
        return output.to_tuple() if return_dict is False else output


def _next_token_loss(
    logits: Tensor, target: Tensor, items: Tensor | int | None, smoothing: float
) -> Tensor:
    """Return the cross entropy of ``(n, vocab)`` logits, in float32."""
    target = target.to(logits.device)
    if items is None:
        return nn.functional.cross_entropy(logits.float(), target, label_smoothing=smoothing)
    items = items.to(logits.device) if isinstance(items, Tensor) else items
    total = nn.functional.cross_entropy(
        logits.float(), target, reduction="sum", label_smoothing=smoothing
    )
    return total / items


class Step1ForCausalLM(Step1PreTrainedModel, GenerationMixin):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """Step1 with its own (untied) output head."""

    def __init__(self, config: Step1Config) -> None:
        """Make the stack and the head."""
        super().__init__(config)
        self.model = Step1Model(config)
        self.lm_head = make_head(config)
        self.post_init()  # type: ignore[no-untyped-call,unused-ignore]

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table."""
        table: nn.Module = self.model.embed_tokens
        return table

    def get_output_embeddings(self) -> nn.Module:
        """Return the output head."""
        head: nn.Module = self.lm_head
        return head

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        alignment: Tensor | None = None,
        cache: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return logits ``(batch, kept rows, vocab)`` and, with ``labels``, the loss.

        Args:
            input_ids: int64, ``(batch, rows)``.
            attention_mask: see ``Step1Model.forward``.
            past_key_values: see ``Step1Model.forward``.
            inputs_embeds: see ``Step1Model.forward``.
            labels: int64, ``(batch, rows)``, -100 where no loss is taken; shifted inside.
            use_cache: see ``Step1Model.forward``.
            output_hidden_states: see ``Step1Model.forward``.
            logits_to_keep: number of last rows (0: all), or their indices.
            return_dict: False returns a tuple.
            alignment: see ``Step1Model.forward``.
            cache: see ``Step1Model.forward``.
            **kwargs: ``num_items_in_batch``, given by the Trainer when it accumulates gradients:
                the loss is then the sum over all kept labels divided by it; ``label_smoothing``
                of the loss; ``skip_logits=True`` returns the loss alone, for which the head is
                applied to the rows that have a label.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=_one_cache(cache, past_key_values),
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            alignment=alignment,
        )
        smoothing = kwargs.get("label_smoothing", 0.0)
        items = kwargs.get("num_items_in_batch")
        loss: Tensor | None = None
        if labels is not None and kwargs.get("skip_logits"):
            target = labels[:, 1:]
            counted = target != -100
            logits = self.lm_head(outputs.last_hidden_state[:, :-1][counted])
            loss = _next_token_loss(logits, target[counted], items, smoothing)
            return CausalLMOutputWithPast(loss=loss)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        if labels is not None:
            flat = logits[:, :-1].flatten(0, 1)
            loss = _next_token_loss(flat, labels[:, 1:].flatten(), items, smoothing)
        output = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            **{_CACHE: getattr(outputs, _CACHE)},
        )
        return output.to_tuple() if return_dict is False else output


AutoConfig.register("step1", Step1Config, exist_ok=True)
AutoModel.register(Step1Config, Step1Model, exist_ok=True)
AutoModelForCausalLM.register(Step1Config, Step1ForCausalLM, exist_ok=True)
