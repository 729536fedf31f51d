"""Llama folders: the same logits as `transformers`' own Llama, in both directions."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from unitlm.adapt import LoraConfig, PromptConfig, add_lora, add_prompt, merge_lora
from unitlm.errors import InputError
from unitlm.llama import export_llama, import_llama
from unitlm.model import Decoder, ModelConfig


def import_transformers() -> ModuleType:
    """`transformers`, which must not try a torchaudio that does not fit the installed torch (a CPU build, say)."""
    hidden = "torchaudio" not in sys.modules
    if hidden:
        sys.modules["torchaudio"] = None  # type: ignore[assignment]
    try:
        transformers = importlib.import_module("transformers")
        assert transformers.LlamaForCausalLM  # loads the modelling code now
    finally:
        if hidden:
            del sys.modules["torchaudio"]
    return transformers


transformers = import_transformers()
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]])


def random_decoder(**changes: object) -> Decoder:
    shape: dict[str, object] = {
        "vocabulary_size": 19,
        "width": 24,
        "layers": 2,
        "heads": 6,
        "key_value_heads": 2,
        "feed_forward_width": 40,
        "rope_base": 500.0,
        "norm_epsilon": 1e-4,
    }
    model = Decoder(ModelConfig(**{**shape, **changes})).eval()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():  # norms too: all ones would hide a swapped pair
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.dim() == 1))
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("key_value_heads", [1, 2, 6])
def test_export_gives_the_logits_of_transformers(tied: bool, key_value_heads: int, tmp_path: Path) -> None:
    model = random_decoder(tied=tied, key_value_heads=key_value_heads)
    export_llama(model, tmp_path / "llama", maximum_length=64, begin=0, end=1)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "llama", dtype=torch.float32, output_loading_info=True
    )
    assert isinstance(theirs, transformers.LlamaForCausalLM)
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert set(report["missing_keys"]) <= {"lm_head.weight"}
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(IDS).logits, model(IDS), rtol=1e-5, atol=1e-5)
    back = import_llama(tmp_path / "llama")
    assert back.config == model.config
    assert torch.equal(back(IDS), model(IDS))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("key_value_heads", [2, 4])
@pytest.mark.parametrize("shards", ["one file", "several files"])
def test_import_gives_the_logits_of_transformers(tied: bool, key_value_heads: int, shards: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=31,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=key_value_heads,
        tie_word_embeddings=tied,
        initializer_range=0.3,
        rope_parameters={"rope_type": "default", "rope_theta": 1234.0},
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="30KB" if shards == "several files" else "1GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == (shards == "several files")
    ours = import_llama(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS), theirs(IDS).logits, rtol=1e-5, atol=1e-5)


def test_tokenizer_reads_and_writes_names(tmp_path: Path) -> None:
    names = ["<begin>", "<end>", *(f"zh.units:{unit}" for unit in range(17))]
    export_llama(random_decoder(), tmp_path / "llama", maximum_length=64, begin=0, end=1, token_names=names)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "llama")
    ids = tokenizer("<begin> zh.units:5 zh.units:16 <end>", add_special_tokens=False)["input_ids"]
    assert ids == [0, 7, 18, 1]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == "<begin> zh.units:5 zh.units:16 <end>"
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1)
    for wrong in (names[:-1], [*names[:-1], "<end>"], [*names[:-1], "two words"]):
        with pytest.raises(InputError, match="19 different ones"):
            export_llama(random_decoder(), tmp_path / "other", maximum_length=64, token_names=wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["llama"], "a failed export leaves nothing"


@pytest.mark.parametrize("changes", [{"causal": False}, {"stages": 2}, {"conditions": 3}])
def test_what_is_no_llama_is_not_exported(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="causal decoder without stages and conditions"):
        export_llama(random_decoder(**changes), tmp_path / "llama", maximum_length=64)


def test_adapters_are_merged_before_export(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    model = random_decoder()
    add_lora(model, LoraConfig(rank=2), generator)
    with pytest.raises(InputError, match="merge"):
        export_llama(model, tmp_path / "llama", maximum_length=64)
    merge_lora(model)
    export_llama(model, tmp_path / "llama", maximum_length=64)
    with pytest.raises(InputError, match="exists already"):
        export_llama(model, tmp_path / "llama", maximum_length=64)
    model = random_decoder()
    add_prompt(model, PromptConfig(2), generator)
    with pytest.raises(InputError, match="adapter"):
        export_llama(model, tmp_path / "prompted", maximum_length=64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mistral"}, "model_type is 'mistral'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}, "rope_type is 'llama3'"),
        ({"head_dim": 8}, "head_dim is 8"),
        ({"hidden_size": None}, "width must be int, got None"),
        ({"intermediate_size": 41}, "gate_up"),
        ({"num_hidden_layers": 3}, "lack model.layers.2"),
    ],
)
def test_other_models_are_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    export_llama(random_decoder(), folder, maximum_length=64)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=message) as caught:
        import_llama(folder)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    export_llama(random_decoder(), folder, maximum_length=64)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    os.truncate(folder / "model.safetensors", 500)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        import_llama(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="missing"):
        import_llama(folder)
    with pytest.raises(InputError, match="cannot be read"):
        import_llama(tmp_path / "nowhere")
