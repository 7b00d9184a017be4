"""The released model once more, straight from a checkpoint's tensors by their own names: what imports are held against.

Its numbers were compared with the released code's (1e-6) before it was put here.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertModel

D, JAW = 53, 50
WORDS = 110
"""Vocabulary of the text encoder."""


def make_checkpoint(seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A random checkpoint in the authors' layout, with options and an encoder as pickled objects of other packages."""
    options = {
        "d_model": 24,
        "n_head": 3,
        "d_inner_hid": 40,
        "n_layers": 1,
        "scale_emb": True,
        "feature_attention": True,
        "flat_method": "casual_attention",
        "one_step_loss": True,
    } | changes
    torch.manual_seed(seed)
    size, inner = options["d_model"], options["d_inner_hid"]
    tensors: dict[str, Tensor] = {}

    def add(name: str, *shape: int) -> None:
        tensors[name] = torch.randn(*shape) / shape[-1] ** 0.5

    def norm(name: str) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1 + 0.1 * torch.randn(size), 0.1 * torch.randn(size)

    def attention(name: str) -> None:
        for part in ("w_qs", "w_ks", "w_vs", "fc"):
            add(f"{name}.{part}.weight", size, size)
        norm(f"{name}.layer_norm")

    def linear(name: str, outputs: int, inputs: int) -> None:
        add(f"{name}.weight", outputs, inputs)
        tensors[f"{name}.bias"] = 0.1 * torch.randn(outputs)

    bert = BertModel(
        BertConfig(
            vocab_size=WORDS,
            hidden_size=size,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=140,
        )
    ).eval()
    tensors |= {f"encoder.{name}": tensor for name, tensor in bert.state_dict().items()}
    add("decoder.trg_word_emb.weight", 110, size)
    linear("decoder.exp_emb", size, D)
    add("decoder.position_enc.pos_table", 1, 20, size)
    norm("decoder.layer_norm")
    if options["feature_attention"]:
        attention("decoder.fea_attn")
        linear("decoder.fea_proj", size, 1)
        linear("decoder.fea_proj_reverse", 1, size)
    for index in range(options["n_layers"]):
        layer = f"decoder.layer_stack.{index}"
        for name in ("slf_attn", "enc_attn", "enc_attn_second", "slf_attn_second"):
            attention(f"{layer}.{name}")
        for name in ("pos_ffn", "pri_ffn"):
            linear(f"{layer}.{name}.w_1", inner, size)
            linear(f"{layer}.{name}.w_2", size, inner)
            norm(f"{layer}.{name}.layer_norm")
        for name in ("upper_mu", "down_mu", "upper_sigma", "down_sigma"):
            linear(f"{layer}.{name}", size, size)
    add("trg_exp_prj.weight", D, size)
    if options["one_step_loss"]:
        add("trg_word_prj_one_step.weight", D, size)
    settings = argparse.Namespace(**options, encoder_pretrained=bert)
    return {"epoch": 7, "settings": settings, "model": tensors}


@torch.inference_mode()
def make_batch(checkpoint: dict[str, Any], seed: int = 1) -> dict[str, Tensor]:
    """Two sentences with 9 and 6 frames, in the layout of the reference numbers."""
    generator = torch.Generator().manual_seed(seed)
    frames, tokens = torch.zeros(2, 11, D), torch.zeros(2, 11, dtype=torch.long)
    for row, count in enumerate((9, 6)):
        frames[row, 1 : count + 1] = torch.randn(count, D, generator=generator)
        tokens[row, : count + 2] = torch.tensor([101, *[100] * count, 102])
    src_mask = torch.ones(2, 5, dtype=torch.bool)
    src_mask[1, 3:] = False
    src_ids = torch.randint(1, WORDS, (2, 5), generator=generator)
    encoder = checkpoint["settings"].encoder_pretrained
    return {
        "src_ids": src_ids,
        "enc": encoder(src_ids, src_mask.long()).last_hidden_state,
        "src_mask": src_mask,
        "first_frame": torch.randn(2, 1, D, generator=generator),
        "frames": frames,
        "token_ids": tokens,
        "attention": tokens != 0,
    }


class Reference:
    """The released computations on a checkpoint of `make_checkpoint`, with every random draw zero."""

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        self.tensors, self.options = checkpoint["model"], vars(checkpoint["settings"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return functional.layer_norm(x, x.shape[-1:], weight, bias, 1e-6)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def attention(self, name: str, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        heads = self.options["n_head"]
        q, k, v = (
            self.linear(f"{name}.{part}", x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part, x in (("w_qs", query), ("w_ks", memory), ("w_vs", memory))
        )
        score = (q / q.shape[-1] ** 0.5) @ k.transpose(2, 3)
        if mask is not None:
            score = score.masked_fill(~mask[:, None], -1e9)
        output = (score.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return self.norm(f"{name}.layer_norm", query + self.linear(f"{name}.fc", output))

    def feed_forward(self, name: str, x: Tensor) -> Tensor:
        inner = functional.relu(self.linear(f"{name}.w_1", x))
        return self.norm(f"{name}.layer_norm", x + self.linear(f"{name}.w_2", inner))

    def embed(self, frames: Tensor, tokens: Tensor, is_frame: Tensor) -> Tensor:
        if self.options["feature_attention"]:
            channels = self.linear("decoder.fea_proj", frames.mean(1)[:, :, None])
            jaw = self.attention("decoder.fea_attn", channels[:, JAW:], channels[:, :JAW])
            change = self.linear("decoder.fea_proj_reverse", jaw).transpose(1, 2)
            frames = torch.cat([frames[..., :JAW], frames[..., JAW:] + change], dim=-1)
        words = self.tensors["decoder.trg_word_emb.weight"][tokens]
        x = torch.where(is_frame[..., None], self.linear("decoder.exp_emb", frames), words)
        x = x * self.options["d_model"] ** 0.5 if self.options["scale_emb"] else x
        return self.norm("decoder.layer_norm", x + self.tensors["decoder.position_enc.pos_table"][:, : x.shape[1]])

    def run(self, x: Tensor, batch: dict[str, Tensor], mask: Tensor, from_posterior: bool) -> tuple[Tensor, ...]:
        text, text_mask, kl, guided = batch["enc"], batch["src_mask"][:, None], 0.0, 0.0
        for index in range(self.options["n_layers"]):
            layer = f"decoder.layer_stack.{index}"
            own = self.attention(f"{layer}.slf_attn", x, x, mask)
            heard = self.attention(f"{layer}.enc_attn", own, text, text_mask)
            if self.options["flat_method"] == "casual_attention":
                heard = self.attention(f"{layer}.slf_attn_second", heard, heard, mask)
            elif self.options["flat_method"] == "flat":
                heard = torch.stack([heard[:, : t + 1].mean(1) for t in range(heard.shape[1])], dim=1)
            q, log_q, p, log_p = (
                self.linear(f"{layer}.{name}", heard) for name in ("upper_mu", "upper_sigma", "down_mu", "down_sigma")
            )
            if from_posterior:
                q, log_q, p, log_p = q[:, 1:], log_q[:, 1:], p[:, :-1], log_p[:, :-1]
                kl = kl - 0.5 * (1 + log_q - log_p - (p - q) ** 2 / log_p.exp() - log_q.exp() / log_p.exp()).mean()
            z = functional.pad(q, (0, 0, 0, 1)) if from_posterior else p
            x = self.feed_forward(
                f"{layer}.pos_ffn", self.attention(f"{layer}.enc_attn_second", own + z, text, text_mask)
            )
            if self.options["one_step_loss"]:
                guided = self.feed_forward(f"{layer}.pri_ffn", p + guided)
        return x, guided, kl

    def numbers(self, batch: dict[str, Tensor], decoded: int = 6) -> dict[str, np.ndarray]:
        """The arrays of a reference file."""
        tokens, frames = batch["token_ids"][:, :-1], batch["frames"][:, :-1]
        is_frame = tokens == 100
        is_frame[:, -1] = False
        count = tokens.shape[1]
        mask = torch.ones(count, count).tril().bool()[None] & (tokens != 0)[:, None]
        x, guided, kl = self.run(self.embed(frames, tokens, is_frame), batch, mask, from_posterior=True)
        found = {"pred": self.linear("trg_exp_prj", x), "kl": kl}
        weight = torch.ones(D)
        weight[JAW:] = 5
        wanted, valid = batch["frames"][:, 1:], batch["attention"][:, 1:]
        found["rec"] = ((found["pred"] - wanted) * weight).norm(dim=-1)[:, 1:][valid[:, 1:]].mean()
        if self.options["one_step_loss"]:
            found["prior_pred"] = self.linear("trg_word_prj_one_step", guided)
            error = ((found["prior_pred"] - wanted[:, :-1]) * weight).norm(dim=-1)
            found["target_guided"] = error[:, 1:][valid[:, 1:-1]].mean()
        rows = torch.cat([torch.zeros(2, 1, D), batch["first_frame"]], dim=1)
        for _ in range(decoded):
            padded = functional.pad(rows, (0, 0, 0, 1))
            tokens = torch.full(padded.shape[:2], 101)
            x = self.embed(padded, tokens, torch.arange(padded.shape[1])[None] > 0)
            mask = torch.ones(x.shape[1], x.shape[1]).tril().bool()[None]
            x, _, _ = self.run(x, batch, mask, from_posterior=False)
            rows = torch.cat([rows, self.linear("trg_exp_prj", x)[:, -2:-1]], dim=1)
        found["generated"] = rows[:, 1:]
        return {name: torch.as_tensor(value).numpy() for name, value in (batch | found).items()}
