"""Pick the next token: the public sampling rules, vectorised over a batch.

Randomness is one 32-bit key per item and step, drawn beforehand from a counter-based generator
(Philox) keyed by the item's seed alone; a hash of key and token index gives the Gumbel noise of
every token. An item therefore gets the same noise alone or in a batch, and on every device.
Gumbel-max picks differ between two runs only where rounding of the logits swaps the two best;
an inverse cumulative sum would move with the rounding of thousands of tokens before the picked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = [
    "GREEDY",
    "Sampling",
    "gumbel_noise",
    "noise_keys",
    "pick",
    "repeated_id",
    "without_column",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_WORD = 0xFFFFFFFF
_NOISE_SPREAD = 20.0
"""Noise of 24 bits lies between -2.86 and 16.64: what is this far below the best cannot win."""
# The same hash as of ``_noise``, as scalars of the arrays' own types.
_TOKEN_FACTOR, _FIRST_FACTOR, _SECOND_FACTOR, _HALF, _THIRTEEN, _SURPLUS = (
    np.uint32(number) for number in (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35, 16, 13, 8)
)
_MIDDLE, _STEP, _LARGEST = (np.float32(number) for number in (0.5, 2**-24, 1 - 2**-24))


@dataclass(frozen=True)
class Sampling:
    """How to pick a token from logits; the defaults are the public system's.

    The order is: guidance, repetition rule, temperature, top-k, top-p. With ``top_k=50`` and the
    repetition rule this is the public first release (whose library defaulted to 50); with
    ``repetition_window=0`` it is the later one.

    Attributes:
        temperature: divides the logits; 0 takes the largest logit (greedy).
        top_k: keep the k largest logits.
        top_p: keep the smallest set of tokens whose probabilities reach p.
        repetition_window: the newest id may not follow again at once if it occurs at least
            ``repetition_count`` times among this many last ids of prompt and output; 0 is off.
        repetition_count: see above.
        guidance: factor by which logits move away from those of a second prompt; 1 is off.
    """

    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    repetition_window: int = 10
    repetition_count: int = 2
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that no distribution can have."""
        if self.temperature < 0:
            raise ValueError(f"temperature {self.temperature} is below 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} is below 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} is outside (0, 1]")
        if self.repetition_window < 0 or self.repetition_count < 2:
            raise ValueError("repetition_window must be at least 0, repetition_count at least 2")

    @property
    def guided(self) -> bool:
        """Tell whether a second prompt is needed."""
        return self.guidance != 1

    @property
    def greedy(self) -> bool:
        """Tell whether the largest logit is taken."""
        return self.temperature == 0


GREEDY = Sampling(temperature=0.0, repetition_window=0)
"""Take the largest logit, without the repetition rule."""


def noise_keys(seeds: Sequence[int], steps: int) -> Tensor:
    """Return int64 keys in ``[0, 2^32)``, shape ``(len(seeds), steps)``, on the CPU.

    A row depends on its seed only, and its first keys do not depend on ``steps``.

    Raises:
        ValueError: if a seed is negative.
    """
    if any(seed < 0 for seed in seeds):
        raise ValueError("seeds must not be negative")
    rows = [
        np.random.Generator(np.random.Philox(seed)).integers(2**32, size=steps, dtype=np.int64)
        for seed in seeds
    ]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, steps, dtype=torch.int64)


def gumbel_noise(keys: Tensor, tokens: int | Tensor) -> Tensor:
    """Return standard Gumbel noise, float32 ``(batch, tokens)``, from a key per row.

    The hash is MurmurHash3's 32-bit finaliser (Appleby, public domain) of key and token index,
    in integer arithmetic that is exact on every device.

    Args:
        keys: int64 ``(batch,)``, values in ``[0, 2^32)``.
        tokens: number of columns, or their token indices, int64 ``(tokens,)``.
    """
    if isinstance(tokens, int):
        tokens = torch.arange(tokens, dtype=torch.int64, device=keys.device)
    return _noise(keys[:, None], tokens[None])


def _noise(keys: Tensor, index: Tensor) -> Tensor:
    """Return the noise of pairs of key and token index, which are broadcast."""
    word = keys ^ ((index * 0x9E3779B1) & _WORD)
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & _WORD
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & _WORD
    word = word ^ (word >> 16)
    return _gumbel((word >> 8).float())


def _gumbel(bits: Tensor) -> Tensor:
    """Return the noise of 24 random bits, which float32 holds exactly."""
    # The half keeps the logarithm of the smallest finite. The largest would round to 1, whose
    # noise is infinite and would beat what is forbidden.
    uniform = ((bits + 0.5) * 2**-24).clamp(max=1 - 2**-24)
    return -torch.log(-torch.log(uniform))


def _add_noise(values: Floats, keys: Ints, index: Ints) -> None:
    """Add what ``_noise`` gives to values, in place.

    NumPy's calls cost less on the few that are asked for, and 32 bits overflow as the hash wants
    it. Logarithms are torch's, whose last bit is the noise's.
    """
    word = index.astype(np.uint32)
    word *= _TOKEN_FACTOR
    word ^= keys.astype(np.uint32)
    word ^= word >> _HALF
    word *= _FIRST_FACTOR
    word ^= word >> _THIRTEEN
    word *= _SECOND_FACTOR
    word ^= word >> _HALF
    word >>= _SURPLUS
    uniform = word.astype(np.float32)
    uniform += _MIDDLE
    uniform *= _STEP
    np.minimum(uniform, _LARGEST, out=uniform)
    torch.from_numpy(uniform).log_().neg_().log_()
    values -= uniform


def repeated_id(recent: Tensor, count: int = 2) -> Tensor:
    """Return the id that the repetition rule bans next, int64 ``(batch,)``, -1 for none.

    Args:
        recent: int64 ``(batch, window)``, the last ids, newest last; -1 before the start of
            the prompt, which switches the rule off (the public code needs a full window).
        count: occurrences of the newest id, itself included, from which on it is banned.
    """
    newest = recent[:, -1]
    often = (recent == newest[:, None]).sum(dim=1) >= count
    return torch.where(often & (recent[:, 0] >= 0), newest, -1)


def without_column(logits: Tensor, column: Tensor, count: int) -> Tensor:
    """Return logits in which one column of each row is forbidden.

    Args:
        logits: ``(batch, tokens)``.
        column: int64 ``(batch,)``; rows where it is none of the first ``count`` stay as they are.
        count: columns that may be forbidden; what follows, as the end of turn, is not.
    """
    outside = (column < 0) | (column >= count)
    column = column.masked_fill(outside, 0)[:, None]
    lowest = torch.where(outside[:, None], logits.gather(1, column), -torch.inf)
    return logits.scatter(1, column, lowest)


def pick(logits: Tensor, sampling: Sampling, keys: Tensor, tokens: Tensor | None = None) -> Tensor:
    """Return one index per row, int64 ``(batch,)``.

    Gumbel-max sampling (Gumbel 1954; Maddison et al. 2014).

    Args:
        logits: ``(batch, tokens)``; -inf where forbidden.
        sampling: the rules; the repetition rule is not applied here.
        keys: int64 ``(batch,)``, the noise keys of this step; unused when greedy.
        tokens: int64 ``(tokens,)``, what token each column is; None: columns are token indices.
    """
    if sampling.greedy:
        return logits.argmax(dim=-1)
    filters = sampling.top_k is not None or sampling.top_p is not None
    if logits.device.type == "cpu" and not filters:
        return _pick_near(logits.float(), sampling.temperature, keys, tokens)
    scores = logits.float() / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scores.shape[-1]:
        least = scores.topk(sampling.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampling.top_p is not None and sampling.top_p < 1:
        scores = _nucleus(scores, sampling.top_p)
    if scores.device.type == "cpu":
        return _pick_near(scores, 1.0, keys, tokens)
    noise = gumbel_noise(keys, scores.shape[-1] if tokens is None else tokens)
    return (scores + noise).argmax(dim=-1)


def _pick_near(logits: Tensor, temperature: float, keys: Tensor, tokens: Tensor | None) -> Tensor:
    """Return the index of the largest sum of score and noise, drawing only what can win."""
    values = logits.numpy()
    best = values.max(axis=1, keepdims=True)
    if not np.isfinite(best).all():  # weights gone wrong: whatever the plain sum gives
        noise = gumbel_noise(keys, logits.shape[-1] if tokens is None else tokens)
        return (logits / temperature + noise).argmax(dim=-1)
    near = (values >= best - np.float32(_NOISE_SPREAD * temperature)).ravel().nonzero()[0]
    column, of = near, keys.numpy()
    if len(values) > 1:
        first = np.arange(0, values.size, values.shape[1])  # of each row in the flat array
        begin = np.searchsorted(near, first)
        counts = np.append(begin[1:], len(near)) - begin
        column, of = near - first.repeat(counts), of.repeat(counts)
    value = values.ravel()[near]
    value /= np.float32(temperature)
    _add_noise(value, of, column if tokens is None else tokens.numpy()[column])
    if len(values) == 1:
        return torch.from_numpy(column[value.argmax(axis=0, keepdims=True)])
    won = np.flatnonzero(value == np.maximum.reduceat(value, begin).repeat(counts))
    return torch.from_numpy(column[won[np.searchsorted(won, begin)]])


def _nucleus(scores: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of tokens reaching ``top_p`` (Holtzman et al. 2020)."""
    ordered, order = scores.sort(dim=-1, descending=False)
    tail = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - top_p
    tail[:, -1] = False
    return scores.masked_fill(tail.scatter(1, order, tail), -torch.inf)
