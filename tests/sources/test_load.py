"""Model specs → models."""

import io
import json
import sys
import textwrap

import pytest
import torch
from torch import nn

import fxcost
from fxcost.errors import InputError, ModelLoadError
from fxcost.sources.load import LARGE_FLOAT, build, load

NET = """
    import torch
    from torch import nn
    import beside

    class Net(nn.Module):
        def __init__(self, width=4, *, activation="relu"):
            super().__init__()
            self.linear = nn.Linear(beside.FEATURES, width)
            self.activation = activation

        def forward(self, x, mask=None):
            return self.linear(x)

    class Needs(nn.Module):
        def __init__(self, channels):
            super().__init__()

    ready = Net(7)
    number = 3

    def broken():
        raise RuntimeError("no luck")

    def no_module():
        return [1, 2]

    class Holder:
        inner = Net
"""


@pytest.fixture
def net(tmp_path):
    """A file with a model that imports a file beside it."""
    (tmp_path / "beside.py").write_text("FEATURES = 3\n")
    path = tmp_path / "net.py"
    path.write_text(textwrap.dedent(NET))
    return path


def shapes(inputs):
    """Shapes of all inputs given by spec or as tensors."""
    return [tuple(x.shape) for x in (*inputs.args, *inputs.kwargs.values())]


class Mixed(nn.Module):
    """Large and small weights, index tables, and a value that is needed while building."""

    def __init__(self):
        super().__init__()
        self.large = nn.Linear(512, 512)
        self.small = nn.Linear(4, 4)
        self.register_buffer("index", torch.zeros(512, 512, dtype=torch.int64) + 5)
        self.register_buffer("elsewhere", torch.zeros(LARGE_FLOAT + 1, device="cpu"))
        self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]


def test_large_weights_are_on_meta_and_index_tables_are_real():
    """Large floating-point weights take no memory; integers keep their values; an explicit device is respected."""
    model = build("mixed", Mixed)
    assert model.large.weight.is_meta
    assert not model.small.weight.is_meta
    assert model.index.unique().tolist() == [5]
    assert not model.elsewhere.is_meta
    assert model.rates == [0, 0.5, 1]


def test_real_keeps_everything_on_the_cpu():
    """`real=True` is for those who want to run the model."""
    assert {p.device.type for p in build("mixed", Mixed, real=True).parameters()} == {"cpu"}


def test_a_huge_model_costs_no_memory():
    """10^12 parameters are built without a byte for each."""
    model = build("huge", lambda: nn.Linear(10**6, 10**6))
    assert sum(p.numel() for p in model.parameters()) == 10**12 + 10**6


@pytest.mark.parametrize(
    "move",
    [
        lambda m: m.to("cpu"), lambda m: m.cpu(), lambda m: m.to(device="cpu", dtype=torch.bfloat16),
        lambda m: m.to(torch.bfloat16), lambda m: m.to(torch.ones(1, dtype=torch.bfloat16)),
    ],
)  # fmt: skip
def test_what_is_on_meta_stays_there(move):
    """A factory may end by moving its model to a device: large weights stay on meta, in the dtype that it asks for."""
    seen = []

    def factory():
        seen.append(move(nn.Linear(512, 512)))
        return seen[-1]

    weight, bias = build("moved", factory).parameters()
    assert weight.is_meta
    assert not bias.is_meta
    assert weight.dtype == bias.dtype
    assert len(seen) == 1


def test_what_does_not_mix_is_all_on_meta():
    """A model that adds a large weight to a table is built on meta alone, also if it is moved to a device then."""

    def factory():
        model = nn.Module()
        model.weight = nn.Parameter(torch.ones(LARGE_FLOAT + 1) + torch.arange(LARGE_FLOAT + 1.0))
        return model

    assert build("sum", factory).weight.is_meta
    assert build("moved sum", lambda: factory().to("cpu")).weight.is_meta


def test_what_needs_values_of_its_weights_is_built_on_the_cpu():
    """A model that reads a large weight while it is built gets real ones."""

    def factory():
        model = nn.Module()
        model.weight = nn.Parameter(torch.ones(LARGE_FLOAT + 1))
        model.total = model.weight.sum().item()
        return model

    assert build("reads", factory).total == LARGE_FLOAT + 1


def test_building_is_repeatable_and_leaves_the_generator_alone():
    """The same small weights each time, and the caller's random numbers are not disturbed."""
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first, second = (build("linear", lambda: nn.Linear(4, 4)).weight for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.rand(3), expected)


def test_a_factory_that_fails_for_its_own_reasons_is_not_run_on_the_cpu():
    """The same failure twice on meta is the factory's own: no memory is spent on weights to see it again."""
    runs = []

    def factory():
        runs.append(nn.Linear(512, 512).weight.is_meta)
        raise ValueError("heads must divide width")

    with pytest.raises(ModelLoadError, match=r"building it failed: ValueError: heads must divide width"):
        build("it", factory)
    assert runs == [True, True]


def test_eval_mode_unless_train():
    """Models are built for inference; `train=True` leaves them in training mode."""
    pytest.importorskip("torchvision")
    assert not load("torchvision:resnet18").model.training
    assert load("torchvision:resnet18", train=True).model.training


# Python files and modules --------------------------------------------------------------------------------------------


def test_a_class_in_a_file(net):
    """Called with the arguments given; its folder is importable meanwhile, and only then."""
    before = list(sys.path)
    model = load(f"{net}:Net", {"width": 9, "activation": "gelu"}).model
    assert model.linear.weight.shape == (9, 3)
    assert model.activation == "gelu"
    assert sys.path == before


def test_a_file_never_stands_in_for_another_module(net):
    """A file called like an installed module is loaded under a name of its own."""
    shadow = net.with_name("json.py")
    shadow.write_text(net.read_text())
    assert load(f"{shadow}:Net").model.linear.out_features == 4
    assert sys.modules["json"] is json


def test_a_module_that_is_built_already(net):
    """An instance is taken as it is; it takes no arguments."""
    assert load(f"{net}:ready").model.linear.out_features == 7
    with pytest.raises(ModelLoadError, match="already built"):
        load(f"{net}:ready", {"width": 3})


def test_a_dotted_name(net):
    """The name may be an attribute of an attribute."""
    assert load(f"{net}:Holder.inner").model.linear.out_features == 4


def test_a_package_module():
    """`package.module:callable`, as in an import statement."""
    model = load("torch.nn:Linear", {"in_features": 3, "out_features": 2}).model
    assert model.weight.shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("Nett", {}, r"has no 'Nett'; did you mean Net"),
        ("Needs", {}, r"missing a required argument: 'channels'.*--arg NAME=VALUE"),
        ("Net", {"depth": 3}, r"unexpected keyword argument 'depth'"),
        ("broken", {}, "RuntimeError: no luck"),
        ("no_module", {}, r"returned a list, not a torch\.nn\.Module"),
        ("number", {}, "is a int; give a class"),
    ],
)
def test_what_a_file_can_be_wrong_about(net, name, arguments, complaint):
    """Each message says what was found and what is expected."""
    with pytest.raises(ModelLoadError, match=complaint):
        load(f"{net}:{name}", arguments)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("def f(:", "SyntaxError"),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("import sys; sys.exit(3)", "ends the process"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path, source, complaint):
    """The import's own error is in the message, and nothing is left in sys.modules or sys.path."""
    path = tmp_path / "bad.py"
    path.write_text(source)
    modules, folders = set(sys.modules), list(sys.path)
    with pytest.raises(ModelLoadError, match=complaint):
        load(f"{path}:Net")
    assert not {name for name in set(sys.modules) - modules if name.startswith("_fxcost_model")}
    assert sys.path == folders


def test_no_such_file_or_module(tmp_path):
    """A path and a module name are told apart by the ending."""
    with pytest.raises(ModelLoadError, match=r"no such file: .*none\.py"):
        load(f"{tmp_path}/none.py:Net")
    with pytest.raises(ModelLoadError, match="No module named 'no_such_package'"):
        load("no_such_package.models:Net")


@pytest.mark.parametrize("spec", [":", "x:", ":x", "Net", ""])
def test_a_spec_has_two_parts(spec):
    """The forms that a spec can have are shown."""
    with pytest.raises(ModelLoadError, match="torchvision:NAME"):
        load(spec)


def test_inputs_that_are_needed_are_named(net):
    """A model of the user's own has no default inputs: the message says which arguments need one."""
    with pytest.raises(InputError, match=r"forward of Net needs x: .*--input 1,3,224,224"):
        load(f"{net}:Net").default_inputs()


# torchvision and timm ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", [(2, 3, 224, 224)]),
        ("inception_v3", [(2, 3, 299, 299)]),
        ("vit_b_16", [(2, 3, 224, 224)]),
        ("fcn_resnet50", [(2, 3, 520, 520)]),
        ("r3d_18", [(2, 3, 16, 112, 112)]),
        ("mvit_v2_s", [(2, 3, 16, 224, 224)]),
        ("raft_small", [(2, 3, 520, 960), (2, 3, 520, 960)]),
        ("quantized_mobilenet_v2", [(2, 3, 224, 224)]),
    ],
)
def test_torchvision_default_inputs(name, expected):
    """Each kind of model is fed as its weights were evaluated."""
    pytest.importorskip("torchvision")
    assert shapes(load(f"torchvision:{name}").default_inputs(2)) == expected


def test_torchvision_detection_takes_a_list_of_images():
    """A detector is fed a list of images, one for each sample, and its backbone is not downloaded."""
    pytest.importorskip("torchvision")
    (images,) = load("torchvision:fasterrcnn_resnet50_fpn").default_inputs(3).args
    assert [image.shape for image in images] == [(3, 800, 1066)] * 3


def test_torchvision_arguments():
    """`--arg num_classes=10` reaches the builder."""
    pytest.importorskip("torchvision")
    assert load("torchvision:resnet18", {"num_classes": 10}).model.fc.out_features == 10
    with pytest.raises(ModelLoadError, match="num_clases"):
        load("torchvision:resnet18", {"num_clases": 10})


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("resnet18", {}, (2, 3, 224, 224)),
        ("resnet18.a1_in1k", {"in_chans": 1}, (2, 1, 224, 224)),
        ("efficientnet_b1", {}, (2, 3, 240, 240)),
        ("vit_tiny_patch16_224", {"img_size": 96}, (2, 3, 96, 96)),
    ],
)
def test_timm_default_inputs(name, arguments, expected):
    """One image of the size in `pretrained_cfg`, or as the arguments say."""
    pytest.importorskip("timm")
    assert shapes(load(f"timm:{name}", arguments).default_inputs(2)) == [expected]


@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        ("torchvision:resnet5", "torchvision:resnet50"),
        ("timm:resnat50", "timm:resnet50"),
        ("hf:bort", "hf:bert"),
        ("resnet50", "torchvision:resnet50 or timm:resnet50"),
    ],
)
def test_no_such_model_offers_the_nearest(spec, nearest):
    """A mistyped name, or a name without its library, is answered with names that exist."""
    for name in ("torchvision", "timm", "transformers"):
        pytest.importorskip(name)
    with pytest.raises(ModelLoadError, match=nearest):
        load(spec)


@pytest.mark.parametrize(
    ("spec", "package"), [("torchvision:a", "torchvision"), ("timm:a", "timm"), ("hf:a", "transformers")]
)
def test_a_missing_library_is_named(monkeypatch, spec, package):
    """Where a model library isn't installed, the message says how to get it."""
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelLoadError, match=f"{package} is not installed: `pip install {package}`"):
        load(spec)


# transformers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("bert", {"num_hidden_layers": 1}, {"input_ids": (2, 128)}),
        ("llama", {"num_hidden_layers": 1, "max_position_embeddings": 16}, {"input_ids": (2, 16)}),
        ("t5", {"num_layers": 1}, {"input_ids": (2, 128), "decoder_input_ids": (2, 128)}),
        ("vit", {"num_hidden_layers": 1, "image_size": 32}, {"pixel_values": (2, 3, 32, 32)}),
        ("videomae", {"num_hidden_layers": 1}, {"pixel_values": (2, 16, 3, 224, 224)}),
        ("clip", {}, {"input_ids": (2, 77), "pixel_values": (2, 3, 224, 224)}),
        ("wav2vec2", {"num_hidden_layers": 1}, {"input_values": (2, 16000)}),
        ("whisper", {"encoder_layers": 1}, {"input_features": (2, 80, 3000), "decoder_input_ids": (2, 128)}),
        ("audio-spectrogram-transformer", {"num_hidden_layers": 1}, {"input_values": (2, 1024, 128)}),
        ("dac", {}, {"input_values": (2, 1, 16000)}),
        (
            "siglip2_vision_model",
            {"num_hidden_layers": 1},
            {"pixel_values": (2, 576, 768), "pixel_attention_mask": (2, 576), "spatial_shapes": (2, 2)},
        ),
        ("qwen2_5_vl_vision", {"depth": 1}, {"hidden_states": (1152, 1176), "grid_thw": (2, 3)}),
        (
            "decision_transformer",
            {"n_layer": 1},
            {
                "states": (2, 20, 17),
                "actions": (2, 20, 4),
                "rewards": (2, 20, 1),
                "returns_to_go": (2, 20, 1),
                "timesteps": (2, 20),
            },
        ),
        (
            "informer",
            {"prediction_length": 24},
            {"past_values": (2, 31), "past_time_features": (2, 31, 0), "past_observed_mask": (2, 31)},
        ),
    ],
)
def test_hf_default_inputs(name, arguments, expected):
    """Text, images, video, audio, and both sides of an encoder-decoder, by what the configuration says."""
    pytest.importorskip("transformers")
    loaded = load(f"hf:{name}", arguments)
    inputs = loaded.default_inputs(2)
    assert {key: tuple(value.shape) for key, value in inputs.kwargs.items()} == expected
    assert inputs.args == ()


def test_hf_token_ids_are_real():
    """Models look for padding among their tokens, so ids have values, all in the vocabulary."""
    pytest.importorskip("transformers")
    ids = load("hf:bert", {"vocab_size": 20, "num_hidden_layers": 1}).default_inputs().kwargs["input_ids"]
    assert (ids.dtype, ids.device.type) == (torch.int64, "cpu")
    assert ids.min() >= 0
    assert ids.max() < 20


@pytest.fixture
def config(tmp_path):
    """A folder with a small configuration that names its architecture."""
    values = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 100, "dtype": "bfloat16",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(values))
    return tmp_path


def test_hf_folder_and_file(config):
    """A configuration on disk is built as the architecture that it names, in its dtype."""
    pytest.importorskip("transformers")
    for place in (config, config / "config.json"):
        model = load(f"hf:{place}", {"vocab_size": 50}).model
        assert type(model).__name__ == "LlamaForCausalLM"
        assert model.lm_head.weight.shape == (50, 32)
        assert model.lm_head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("meta-llama/Llama-3.1-8B", r"download its config\.json first"),
        ("clip_text_model_x", "did you mean hf:clip_text_model"),
        ("zzzz", "give a model type"),
    ],
)
def test_hf_names_that_are_none(name, complaint):
    """A hub name is never looked up: the message says to download the configuration."""
    pytest.importorskip("transformers")
    with pytest.raises(ModelLoadError, match=complaint):
        load(f"hf:{name}")


def test_hf_folder_without_configuration(tmp_path):
    """A folder must have a config.json."""
    pytest.importorskip("transformers")
    with pytest.raises(ModelLoadError, match=r"has no config\.json"):
        load(f"hf:{tmp_path}")


def test_hf_mistyped_configuration_entry():
    """transformers takes any name for an entry without a word; fxcost does not."""
    pytest.importorskip("transformers")
    with pytest.raises(ModelLoadError, match=r"has no 'num_hiden_layers'; did you mean num_hidden_layers"):
        load("hf:bert", {"num_hiden_layers": 2})


def test_hf_entry_of_a_part():
    """An entry that only the parts of a configuration have is shown where it is."""
    pytest.importorskip("transformers")
    with pytest.raises(
        ModelLoadError, match=r"its text_config, .* do: --arg \"text_config=\{'num_hidden_layers': …\}\""
    ):
        load("hf:blip-2", {"num_hidden_layers": 2})


def test_hf_model_that_is_made_for_the_configuration():
    """The bare model that transformers lists for MusicGen takes its decoder's configuration: the whole one is built."""
    pytest.importorskip("transformers")
    loaded = load(
        "hf:musicgen", {"decoder": {"num_hidden_layers": 1}, "text_encoder": {"model_type": "t5", "num_layers": 1}}
    )
    assert type(loaded.model).__name__ == "MusicgenForConditionalGeneration"
    inputs = loaded.default_inputs(2)
    assert inputs.kwargs["decoder_input_ids"].shape == (2 * loaded.model.decoder.num_codebooks, 128)
    report = fxcost.analyze(loaded.model, inputs.args, inputs.kwargs)
    assert min(report.cost_of(part).macs for part in ("text_encoder", "decoder")) > 0


def test_no_inputs_for_what_the_configuration_says():
    """Nothing can be drawn from an empty vocabulary: an error of ours, that says what to do."""
    pytest.importorskip("transformers")
    loaded = load("hf:bert", {"vocab_size": 0, "pad_token_id": None, "num_hidden_layers": 1})
    with pytest.raises(InputError, match=r"no default inputs for hf:bert, as it is configured .*; give --input"):
        loaded.default_inputs()


def test_images_in_the_place_of_tokens():
    """LLaVA gets an image, and as many image tokens before the text as the image has patches."""
    pytest.importorskip("transformers")
    small = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    vision = {**small, "num_hidden_layers": 3, "image_size": 28, "patch_size": 14}
    loaded = load("hf:llava", {"text_config": {**small, "vocab_size": 32_001}, "vision_config": vision})
    inputs = loaded.default_inputs(2)
    ids = inputs.kwargs["input_ids"]
    assert inputs.kwargs["pixel_values"].shape == (2, 3, 28, 28)
    assert (ids == loaded.model.config.image_token_id).sum(1).tolist() == [4, 4]
    report = fxcost.analyze(loaded.model, inputs.args, inputs.kwargs)
    assert report.cost_of("model.vision_tower").macs > 0


@pytest.mark.parametrize(
    ("spec", "arguments", "head", "built"),
    [
        ("hf:llama", {"num_hidden_layers": 1}, "auto", "LlamaForCausalLM"),
        ("hf:llama", {"num_hidden_layers": 1}, "none", "LlamaModel"),
        ("hf:LlamaModel", {"num_hidden_layers": 1}, "auto", "LlamaModel"),
        ("hf:LlamaForCausalLM", {"num_hidden_layers": 1}, "none", "LlamaModel"),
        ("hf:t5", {"num_layers": 1}, "auto", "T5ForConditionalGeneration"),
        ("hf:bert", {"num_hidden_layers": 1}, "auto", "BertForMaskedLM"),
        ("hf:bert", {"num_hidden_layers": 1, "is_decoder": True}, "auto", "BertLMHeadModel"),
    ],
)
def test_a_type_is_built_with_its_language_model_head(spec, arguments, head, built):
    """The head is as wide as the vocabulary; --head none, or the bare class, leaves it out."""
    pytest.importorskip("transformers")
    loaded = load(spec, arguments, head=head)
    assert type(loaded.model).__name__ == built
    assert loaded.notes == ()


def test_a_type_that_says_no_head_is_bare_and_says_so(tmp_path):
    """Classes with one are named; a configuration that names its class needs no note."""
    pytest.importorskip("transformers")
    loaded = load("hf:vit", {"num_hidden_layers": 1})
    assert type(loaded.model).__name__ == "ViTModel"
    assert [note for note in loaded.notes if "hf:ViTForImageClassification" in note] == list(loaded.notes) != []
    named = {"model_type": "vit", "architectures": ["ViTForImageClassification"], "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(named))
    loaded = load(f"hf:{tmp_path}")
    assert (type(loaded.model).__name__, loaded.notes) == ("ViTForImageClassification", ())


def test_only_models_of_transformers_have_heads_that_can_be_left_out():
    """Said in the words of Python; any other value is refused."""
    with pytest.raises(ModelLoadError, match=r"torchvision:alexnet has no form without a head .* head='none'"):
        load("torchvision:alexnet", head="none")
    with pytest.raises(InputError, match="head='all': choose from auto, none"):
        load("torchvision:alexnet", head="all")


@pytest.mark.parametrize("place", ["", "/config.json"])
def test_code_in_a_folder_of_transformers_is_not_run(tmp_path, monkeypatch, place):
    """A configuration that brings code of its own is refused in one line; nobody is asked, and nothing is run."""
    pytest.importorskip("transformers")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "configuration_evil.EvilConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\nraise RuntimeError('ran')\n"
    (tmp_path / "configuration_evil.py").write_text(code)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 10))
    with pytest.raises(ModelLoadError, match=r"code that is in its folder .* which fxcost doesn't run") as caught:
        load(f"hf:{tmp_path}{place}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert sys.stdin.read().count("y") == 10
