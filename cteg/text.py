"""User text: checking and normalising it, and the text encoder that the generator listens to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from cteg.errors import InputError
from cteg.model.bert import Bert

MAX_CHARACTERS = 500
MAX_TOKENS = 128
"""Longest token sequence that is encoded, as in the paper; what is beyond it is not read."""

_MAX_MARKS = 3  # combining marks kept on one character: every living script fits, stacked decoration does not


def check_text(text: object) -> str:
    """Return the sentence in normal form, or raise with one clear sentence.

    Normal form: NFC, no control, format (zero-width, bidirectional override) or unassigned characters, runs of white
    space as one blank. Zero-width joiners inside emoji go too; the parts stay.

    Raises:
        InputError: not a string, empty, nothing to read in it, or longer than `MAX_CHARACTERS`.
    """
    if not isinstance(text, str):
        raise InputError("The text must be a sentence in quotes, not another kind of value.")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"The text has {len(text):,} characters; the limit is {MAX_CHARACTERS}.")
    kept, marks = [], 0
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        marks = marks + 1 if category == "Mn" else 0
        if character.isspace():
            kept.append(" ")
        elif category[0] != "C" and marks <= _MAX_MARKS:
            kept.append(character)
    # Composed once more: what was taken out may have stood between a letter and its mark.
    clean = re.sub(" +", " ", unicodedata.normalize("NFC", "".join(kept))).strip()
    if not any(unicodedata.category(character)[0] in "LNPS" for character in clean):
        raise InputError("Please type a sentence first; the text is empty.")
    return clean


@dataclass(frozen=True)
class TextStates:
    """Encoded sentences: hidden states (B, L, text_size), mask (B, L) True for real tokens, label probabilities (B, C).

    The probabilities are the encoder's reading of the feelings, one column per label; None without a label head.
    """

    states: Tensor
    mask: Tensor
    label_probabilities: Tensor | None = None


class TextEncoder(nn.Module):
    """A frozen pretrained language model with a label head on the mean of its last hidden states.

    Args:
        backbone: Turns token ids into hidden states.
        tokenizer: The tokenizer that belongs to it; None for an encoder that gets token ids only.
        labels: Names of the feelings that the label head reads; empty for an encoder that was not fine-tuned.
    """

    def __init__(self, backbone: Bert, tokenizer: Tokenizer | None, labels: Sequence[str] = ()) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self.size: int = backbone.config.hidden_size
        self.label_head = nn.Linear(self.size, len(self.labels)) if self.labels else None
        if tokenizer is not None:
            tokenizer.enable_truncation(MAX_TOKENS)
            tokenizer.enable_padding(pad_id=backbone.config.pad_token_id)

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token ids (B, L) and their mask (B, L), True for real tokens."""
        encodings = self.tokenizer.encode_batch(list(texts))
        ids = torch.tensor([encoding.ids for encoding in encodings])
        return ids, torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, L) ids and mask -> last hidden states (B, L, text_size), label logits (B, C) or None."""
        states = self.backbone(ids, mask)
        if self.label_head is None:
            return states, None
        weight = mask[..., None].to(states.dtype)
        return states, self.label_head((states * weight).sum(1) / weight.sum(1))

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TextStates:
        """Encode checked sentences, padded to the longest one."""
        ids, mask = self.tokenize(texts)
        device = next(self.parameters()).device
        states, logits = self(ids.to(device), mask.to(device))
        probabilities = None if logits is None else torch.softmax(logits.float(), -1)
        return TextStates(states.float(), mask.to(device), probabilities)
