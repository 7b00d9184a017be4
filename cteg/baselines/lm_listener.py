"""LM-Listener: a language model writes codes of motion from a text.

    text states ──► GPT-2, trained from scratch ──► code, code, ..., end ──► `MotionCodes` ──► frames

Letters: B batch, K frames per code, N codes, L text tokens, V number of codes.

Reference: Ng et al. 2023, "Can Language Models Learn to Listen?". Deviations: the text's states are the prefix, as in
the comparison of Xu et al. 2025; the language model starts from nothing, because there is none to ship; sizes fit our
corpus.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cteg import layout
from cteg.baselines.motion_codes import LMListenerConfig, MotionCodes
from cteg.baselines.system import Frames, InBatches, Sentences, pad_clips
from cteg.checkpoint import load_module, save_module
from cteg.errors import WeightsError


class CodeModel(nn.Module):
    """Second stage: GPT-2 that reads the text's states as a prefix and writes codes; code V means the end."""

    def __init__(self, config: LMListenerConfig) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2Model  # imported late: it takes over a second

        self.config = config
        self.text_projection = nn.Linear(config.text_size, config.hidden_size)
        self.null_text = nn.Parameter(torch.randn(1, config.text_size) * 0.02)
        self.code_embedding = nn.Embedding(config.codes + 1, config.hidden_size)  # the last one means: begin
        settings = GPT2Config(
            vocab_size=1,  # its own word table is not used
            bos_token_id=None,
            eos_token_id=None,
            n_positions=config.max_codes + 160,  # text of up to 128 tokens before
            n_embd=config.hidden_size,
            n_layer=config.layers,
            n_head=config.heads,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
        )
        self.transformer = GPT2Model(settings)
        self.head = nn.Linear(config.hidden_size, config.codes + 1)

    def forward(self, codes: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Teacher-forced pass.

        Args:
            codes: (B, N), known codes; what is after a clip's end is not looked at by what is before.
            text: (B, L, text_size).
            text_mask: (B, L), True for real tokens.

        Returns:
            (B, N+1, V+1), logits of every code, the end included, at positions 0...N.
        """
        begin = codes.new_full((len(codes), 1), self.config.codes)
        embedded = self.code_embedding(torch.cat([begin, codes], dim=1))
        states = torch.cat([self.text_projection(text), embedded], dim=1)
        seen = torch.cat([text_mask, torch.ones_like(begin).expand(-1, embedded.shape[1]).bool()], dim=1)
        output = self.transformer(inputs_embeds=states, attention_mask=seen.long(), position_ids=_positions(seen))
        return self.head(output.last_hidden_state[:, text.shape[1] :])

    @torch.inference_mode()
    def write(self, text: Tensor, text_mask: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Sample codes.

        Args:
            text: (B, L, text_size).
            text_mask: (B, L), True for real tokens.
            uniform: (B, max_codes), in [0, 1), chooses the codes.
            temperature: Divides the logits; 0 takes the likeliest code.

        Returns:
            (B, N) codes and (B,) how many of them belong to the clip, at least 1.
        """
        end, rows = self.config.codes, len(text)
        seen = torch.cat([text_mask, torch.ones_like(text_mask[:, :1])], dim=1)
        begin = torch.full((rows, 1), end, device=text.device)
        states = torch.cat([self.text_projection(text), self.code_embedding(begin)], dim=1)
        positions, cache = _positions(seen), None
        written: list[Tensor] = []
        lengths = torch.full((rows,), self.config.max_codes, device=text.device)
        for step in range(self.config.max_codes):
            output = self.transformer(
                inputs_embeds=states,
                attention_mask=seen.long(),
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            cache = output.past_key_values
            logits = self.head(output.last_hidden_state[:, -1])
            if step == 0:
                logits[:, end] = -torch.inf  # a clip has at least one code
            code = _choose(logits, uniform[:, step], temperature)
            lengths = torch.where((code == end) & (lengths > step), step, lengths)
            written.append(code.clamp(max=end - 1))
            if bool((lengths <= step).all()):
                break
            states = self.code_embedding(written[-1])[:, None]
            seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
            positions = positions[:, -1:] + 1
        return torch.stack(written, dim=1), lengths.clamp(max=len(written))


def _positions(seen: Tensor) -> Tensor:
    """Positions (B, n) that count real tokens only, so that padding changes nothing; `seen` is True for real ones."""
    return (seen.long().cumsum(1) - 1).clamp(min=0)


def _choose(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """(B, V+1) logits and (B,) uniform numbers -> (B,) codes."""
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits / temperature, -1).cumsum(-1)
    return (cumulative < uniform[:, None]).sum(-1).clamp(max=logits.shape[-1] - 1)


class LMListener(InBatches):
    """Both stages behind the protocol of the comparison; predictions take the likeliest code after the true ones."""

    name = "LM-Listener"

    def __init__(self, motion: MotionCodes, language: CodeModel) -> None:
        self.motion, self.language, self.config = motion.eval(), language.eval(), motion.config
        self.stride, self.null_text = self.config.stride, language.null_text

    @torch.inference_mode()
    def _write(self, text: Tensor, mask: Tensor, seed: int, temperature: float) -> list[Frames]:
        generators = [torch.Generator().manual_seed(seed + row) for row in range(len(text))]
        uniform = torch.stack([torch.rand(self.config.max_codes, generator=g) for g in generators])
        codes, lengths = self.language.write(text, mask, uniform, temperature)
        # Codes after the end are the last one again, as far as the decoder looks ahead: others' lengths must not show.
        position = torch.minimum(torch.arange(codes.shape[1] + self.motion.context)[None], lengths[:, None] - 1)
        frames = self._to_frames(self.motion.codebook[codes.gather(1, position)])
        return [clip[: int(length) * self.stride] for clip, length in zip(frames, lengths, strict=True)]

    def _to_frames(self, embedded: Tensor) -> Frames:
        frames = self.motion.decode(embedded).numpy()
        return layout.clamp_open(frames) if self.config.space == "open" else frames

    @torch.inference_mode()
    def _predict(self, sentences: Sentences, clips: list[Frames]) -> Frames:
        size, context = self.stride, self.motion.context
        steps = -(-max(map(len, clips)) // size)
        true = torch.from_numpy(pad_clips(clips, steps * size))
        codes = self.motion.nearest(self.motion.embed(true))  # (B, N)
        logits = self.language(codes[:, :-1], sentences.states, sentences.mask)
        guessed = logits[..., : self.config.codes].argmax(-1)  # (B, N), never the end: these clips go on
        written = []
        for step in range(steps):
            known = torch.cat([codes[:, max(0, step - context) : step], guessed[:, step : step + 1]], dim=1)
            written.append(self._to_frames(self.motion.codebook[known])[:, -size:])
        return np.concatenate(written, axis=1)


# -- files -------------------------------------------------------------------------------------------------------------


def save_lm_listener(motion: MotionCodes, language: CodeModel, folder: Path) -> None:
    """Write `config.json`, `motion.safetensors` and `language.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(motion.config), indent=2) + "\n")
    save_module(motion, folder / "motion.safetensors")
    save_module(language, folder / "language.safetensors")


def load_lm_listener(folder: Path) -> LMListener:
    """Read what `save_lm_listener` wrote.

    Raises:
        WeightsError: a file is missing, damaged or does not fit.
    """
    try:
        values: dict[str, Any] = json.loads((folder / "config.json").read_text())
        config = LMListenerConfig(**values)
        motion, language = MotionCodes(config), CodeModel(config)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # the last for a size that no tensor has
        raise WeightsError(f"The file config.json of the LM-Listener in {folder} is missing or damaged.") from error
    load_module(folder / "motion.safetensors", motion)
    load_module(folder / "language.safetensors", language)
    return LMListener(motion, language)
