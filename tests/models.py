"""Small random models that the tests share."""

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from cteg.model.bert import build_bert
from cteg.model.config import CTEGConfig
from cteg.model.cteg import CTEG
from cteg.text import TextEncoder

TEXT_SIZE = 24


def small_config(**changes) -> CTEGConfig:
    settings = {
        "text_size": TEXT_SIZE,
        "hidden_size": 32,
        "heads": 4,
        "feed_forward_size": 48,
        "latent_size": 8,
        "prior_components": 3,
        "sequence_latent_size": 4,
        "sequence_components": 3,
        "frames_per_step": 4,
        "max_frames": 40,
        "dropout": 0.0,
    }
    return CTEGConfig(**settings | changes)


def small_model(seed: int = 0, **changes) -> CTEG:
    torch.manual_seed(seed)
    model = CTEG(small_config(**changes)).eval()
    model.coefficient_scale.uniform_(0.1, 0.3)
    model.first_frame.uniform_(0.0, 0.1)
    return model


def sentence(tokens: int = 7, rows: int = 1, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(rows, tokens, TEXT_SIZE, generator=generator)
    return states, torch.ones(rows, tokens, dtype=torch.bool)


def small_encoder(labels=("joy", "anger", "neutral")) -> TextEncoder:
    """A random text encoder of the real kind that splits at blanks and knows a few words."""
    torch.manual_seed(0)
    words = "[PAD] [UNK] [CLS] [SEP] i you we love hate it this so much . ! ? , 's not wow no yes happy sad".split()  # noqa: SIM905
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    backbone = build_bert(
        {
            "vocab_size": len(words),
            "hidden_size": TEXT_SIZE,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 160,
        }
    )
    return TextEncoder(backbone, tokenizer, labels).eval()
