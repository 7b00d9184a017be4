"""Decoding with the released model: as the released code does it, and the same frames with far less work.

EwA's averages change with every frame, and with them the jaw of all frames before: nothing of the past can be kept as
it is. But the change is one vector d (3,) for the whole sequence, and what follows from it is simple at first:

    input of row t         x_t = LayerNorm(c_t + U d)             c_t kept, U (H, 3) fixed
    query, key, value      W x_t = (W' c_t + W' U d) / std_t + b  W' c_t kept: no product with W again
    self-attention         again for all rows
    text attention         again for all rows, through tables of the sentence (`FoldedText`)
    LTA, z, text, FFN      of the highest layer: for the newest row alone, since only that one is read

LTA's newest query meets all rows, whose keys would be one product each; instead the query goes through the key weights
once (q' (Wk h) = (Wk' q)' h), and the weighted sum of rows through the value weights. All of it is exact, up to
rounding. Letters: R sequences, T rows so far (start row, mean frame, ...), A heads, H hidden, D = 53.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cteg.layout import JAW, D
from cteg.model.attention import LAYER_NORM_EPS
from cteg.model.released import PAD, START, WORDS, ReleasedCTEG, ReleasedLayer, causal_mask

Draw = Callable[[Tensor, Tensor, int, slice], Tensor]
"""Called with a prior's mean and log-variance (R, n, H), the layer's index and the rows they belong to; returns z."""


def likeliest(mean: Tensor, log_variance: Tensor, layer: int, rows: slice) -> Tensor:
    """Draw at temperature 0: the mean."""
    return mean


class RecomputingDecoder:
    """The released way: the whole prefix, the text included, again at every step.

    Args:
        model: In evaluation mode.
        text: (R, L, H) states of the text encoder, or (1, L, H) for one sentence that all sequences share.
        text_mask: (R, L) or (1, L), True for real tokens.
        rows: R.
    """

    def __init__(self, model: ReleasedCTEG, text: Tensor, text_mask: Tensor, rows: int) -> None:
        self.model, self.text, self.text_mask = model, text.expand(rows, -1, -1), text_mask.expand(rows, -1)
        self.frames = text.new_zeros(rows, 1, D)  # the start row holds no frame

    def step(self, frame: Tensor, draw: Draw) -> Tensor:
        """Take the newest frame (R, 53), the mean frame first, and return the hidden state of the next (R, H)."""
        self.frames = torch.cat([self.frames, frame[:, None]], dim=1)
        padded = functional.pad(self.frames, (0, 0, 0, 1))  # averaged by EwA, read by nobody
        tokens = torch.full(padded.shape[:2], -1, device=frame.device)
        tokens[:, 0], tokens[:, -1] = START, PAD
        states = self.model.embed(padded, tokens)[:, :-1]
        mask = causal_mask(states)
        for index, layer in enumerate(self.model.layers):
            attended, latent = layer.enter(states, mask, self.text, self.text_mask)
            z = draw(layer.prior_mean(latent), layer.prior_log_variance(latent), index, slice(0, states.shape[1]))
            states = layer.leave(attended + z, self.text, self.text_mask)
        return states[:, -1]


class Decoder:
    """The same frames, with everything kept that EwA leaves as it is. Arguments and `step` as above."""

    def __init__(self, model: ReleasedCTEG, text: Tensor, text_mask: Tensor, rows: int) -> None:
        capacity = model.config.positions
        self.layers = [_Layer(layer, text, text_mask, rows, capacity) for layer in model.layers]
        self.entry = _Entry(model, self.layers[0].projection, rows, capacity)
        self.has_changing_past = model.config.has_expression_attention

    def step(self, frame: Tensor, draw: Draw) -> Tensor:
        """Take the newest frame (R, 53), the mean frame first, and return the hidden state of the next (R, H)."""
        self.entry.append(frame)
        end = self.entry.length
        first = 0 if self.has_changing_past or end == 2 else end - 1  # rows from here on are new or changed
        states = self.entry.states(first, self.layers[0].projected[:, first:end])
        for index, layer in enumerate(self.layers):
            if index:
                layer.projected[:, first:end] = functional.linear(states, layer.projection)
            states = layer.step(states, first, end, draw, index, is_last=layer is self.layers[-1])
        return states[:, -1]


class _Entry:
    """Input states of all rows and their projections in the lowest self-attention."""

    def __init__(self, model: ReleasedCTEG, projection: Tensor, rows: int, capacity: int) -> None:
        self.model, self.length = model, 0
        scale = math.sqrt(model.config.hidden_size) if model.config.scales_input else 1.0
        jaw = scale * model.frame.weight[:, JAW]
        self.jaw = (jaw - jaw.mean(0)).T.contiguous()  # U, (3, H)
        self.projection = (projection * model.norm.weight).T.contiguous()  # W', (H, 3H)
        self.jaw_projected = self.jaw @ self.projection  # (3, 3H)
        self.offset = projection @ model.norm.bias  # b, (3H,)
        self.centred = projection.new_zeros(rows, capacity, len(projection) // 3)  # c
        self.centred_projected = projection.new_zeros(rows, capacity, len(projection))  # W' c
        self.total = projection.new_zeros(rows, D)
        self.folded = model.expression_attention.fold() if model.config.has_expression_attention else None
        start = model.words.weight[WORDS.index(START)] if model.config.starts_with_word else model.frame.bias
        self._append(start.expand(rows, -1))

    def append(self, frame: Tensor) -> None:
        """Add the row of a frame (R, 53)."""
        self._append(self.model.frame(frame))
        self.total += frame

    def _append(self, embedded: Tensor) -> None:
        row = self.model.add_positions(embedded[:, None], self.length)[:, 0]
        row = row - row.mean(-1, keepdim=True)
        self.centred[:, self.length] = row
        self.centred_projected[:, self.length] = row @ self.projection
        self.length += 1

    def states(self, first: int, projected: Tensor) -> Tensor:
        """Return the input states of the rows from `first` on (R, n, H) and write their projections (R, n, 3H)."""
        rows = slice(first, self.length)
        shifted, shift = self.centred[:, rows], None
        if self.folded is not None:
            count = self.length + 1 if self.model.config.averages_zero_rows else self.length - 1
            average = self.total[:, None] / count
            change = self.model.expression_attention.jaw_change(average, self.folded)  # d, (R, 1, 3)
            is_frame = torch.ones(self.length - first, 1, device=change.device)
            if first == 0 and self.model.config.starts_with_word:
                is_frame[0] = 0  # the start row has no jaw
            shifted, shift = shifted + is_frame * (change @ self.jaw), is_frame * (change @ self.jaw_projected)
        norm = self.model.norm
        states, _, inverse_std = torch.native_layer_norm(
            shifted, [shifted.shape[-1]], norm.weight, norm.bias, LAYER_NORM_EPS
        )
        moved = self.centred_projected[:, rows] if shift is None else self.centred_projected[:, rows] + shift
        torch.addcmul(self.offset, moved, inverse_std, out=projected)
        return states


class _Layer:
    """One layer while it decodes, with projections (R, T, 3H) and text-attended states (R, T, H) of all rows."""

    def __init__(self, layer: ReleasedLayer, text: Tensor, text_mask: Tensor, rows: int, capacity: int) -> None:
        self.layer = layer
        self.text = layer.text_attention.listen_to(text, text_mask)
        self.second_text = layer.second_text_attention.listen_to(text, text_mask)
        self.projection = layer.self_attention.fused_projection()  # (3H, H)
        self.projected = self.projection.new_zeros(rows, capacity, len(self.projection))
        self.heard = self.projection.new_zeros(rows, capacity, self.projection.shape[1])

    def step(self, states: Tensor, first: int, end: int, draw: Draw, index: int, is_last: bool) -> Tensor:
        """Input states of the rows first...end - 1 (R, n, H) -> their output; of the last layer only the newest row's.

        Their projections stand in `projected` already.
        """
        own = self.layer.self_attention
        query, key, value = self.projected[:, :end].unflatten(-1, (3 * own.heads, -1)).transpose(1, 2).chunk(3, 1)
        is_causal = first == 0  # otherwise there is one row, which sees all
        attended = own.attend_projected(states, query[:, :, first:], key, value, mask=None, is_causal=is_causal)
        self.heard[:, first:end] = self.text(attended)
        if is_last:
            attended, first = attended[:, -1:], end - 1
            latent = self._newest_latent_state(self.heard[:, :end])
        else:
            heard = self.heard[:, :end]
            latent = self.layer.latent_states(heard, causal_mask(heard))[:, first:]
        mean, log_variance = self.layer.prior_mean(latent), self.layer.prior_log_variance(latent)
        z = draw(mean, log_variance, index, slice(first, end))
        return self.layer.feed_forward(self.second_text(attended + z))

    def _newest_latent_state(self, heard: Tensor) -> Tensor:
        """LTA of the newest row alone: (R, T, H) -> (R, 1, H)."""
        newest = heard[:, -1:]
        if self.layer.latent_attention == "none":
            return newest
        if self.layer.latent_attention == "flat":
            return heard.mean(1, keepdim=True)
        path = self.layer.latent_path
        query = path.split(path.query(newest))  # (R, A, 1, H/A)
        per_head = (path.heads, -1, heard.shape[-1])
        lifted = (query @ path.key.weight.view(per_head)).squeeze(2)  # Wk' q of every head, (R, A, H)
        weights = torch.softmax(lifted @ heard.transpose(1, 2) / math.sqrt(query.shape[-1]), -1)  # (R, A, T)
        pooled = (weights @ heard)[:, :, None]  # (R, A, 1, H)
        attended = pooled @ path.value.weight.view(per_head).transpose(1, 2)  # (R, A, 1, H/A)
        return path.norm(newest + path.output(attended.transpose(1, 2).flatten(2)))


@torch.inference_mode()
def decode(
    model: ReleasedCTEG,
    text: Tensor,
    text_mask: Tensor,
    first_frame: Tensor,
    frames: int,
    decoder: type[Decoder | RecomputingDecoder] = Decoder,
) -> Tensor:
    """Write frames without any noise and without a stop.

    Args:
        model: In evaluation mode.
        text: (R, L, H).
        text_mask: (R, L).
        first_frame: (R, 53), the mean frame of the training set.
        frames: How many to write.
        decoder: How.

    Returns:
        (R, 1 + frames, 53), the first frame first.
    """
    writer, written = decoder(model, text, text_mask, len(first_frame)), [first_frame]
    for _ in range(frames):
        written.append(model.output(writer.step(written[-1], likeliest)))
    return torch.stack(written, dim=1)
