"""Our BERT is BERT: held against transformers, which the app itself does without."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from tokenizers import Tokenizer

from cteg.checkpoint import BUNDLED, load_text_encoder
from cteg.model.bert import BertConfig, build_bert
from cteg.ui.examples import EXAMPLES

SMALL = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 30,
}


def published(configuration):
    """The same encoder as transformers builds it."""
    from transformers import BertConfig as PublishedConfig
    from transformers import BertModel

    return BertModel(PublishedConfig(**configuration), add_pooling_layer=False).eval()


@pytest.mark.parametrize("act", ["gelu", "relu"])
@pytest.mark.parametrize("padding", [0, 3])
def test_states_and_names_are_those_of_transformers(act, padding):
    torch.manual_seed(0)
    ours, theirs = (build(SMALL | {"hidden_act": act}) for build in (build_bert, published))
    ours.load_state_dict(theirs.state_dict())  # strict: the same names and shapes
    ids = torch.randint(1, 60, (3, 9))
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, 9 - padding :] = False
    with torch.inference_mode():
        expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        torch.testing.assert_close(ours(ids, mask)[mask], expected[mask], atol=1e-6, rtol=0)


def test_gradients_are_those_of_transformers():
    torch.manual_seed(0)
    ours, theirs = build_bert(SMALL), published(SMALL)
    ours.load_state_dict(theirs.state_dict())
    ids, mask = torch.randint(1, 60, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    ours(ids, mask).square().sum().backward()
    theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state.square().sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-3, rtol=1e-4)


def test_the_bundled_encoder_reads_sentences_as_transformers_does():
    encoder = load_text_encoder(BUNDLED / "text_encoder")
    configuration = json.loads((BUNDLED / "text_encoder" / "config.json").read_text())["backbone"]
    theirs = published(configuration)
    theirs.load_state_dict(encoder.backbone.state_dict())
    ids, mask = encoder.tokenize(list(EXAMPLES.values()))
    with torch.inference_mode():
        expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        torch.testing.assert_close(encoder.backbone(ids, mask)[mask], expected[mask], atol=1e-5, rtol=0)
    assert isinstance(encoder.tokenizer, Tokenizer)


def test_dropout_acts_in_training_alone():
    model = build_bert(SMALL)
    ids, mask = torch.randint(1, 60, (1, 7)), torch.ones(1, 7, dtype=torch.bool)
    assert torch.equal(model(ids, mask), model(ids, mask))
    model.train()
    assert not torch.equal(model(ids, mask), model(ids, mask))


def test_a_configuration_is_read_back_and_another_models_is_refused():
    model = build_bert({**SMALL, "model_type": "bert", "architectures": ["BertModel"], "classifier_dropout": None})
    assert BertConfig.from_dict(dataclasses.asdict(model.config)) == model.config
    for wrong in (
        {"model_type": "roberta"},
        {"position_embedding_type": "relative_key"},
        {"hidden_act": "silu"},
        {"num_attention_heads": 5},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}|heads do not divide"):
            build_bert(SMALL | wrong)


def test_performing_a_sentence_imports_neither_transformers_nor_gradio():
    code = (
        "import sys, cteg; cteg.load().generate('Hi.', 1); print(sorted({'transformers', 'gradio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
