"""transformers in the sweep: every model type, with what its configuration and its forward can't do without.

The default configuration of some types lacks an entry, or has one that does not fit the others: no such model could
be built or run. `ARGUMENTS` has the entries that a published checkpoint of that type sets, and only those. They are
written as a `config.json` and read from there, as a checkpoint is.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import fxcost
from fxcost.sources import hf
from fxcost.sources.load import load
from fxcost.sources.shapes import Inputs

Made = tuple[torch.nn.Module, Callable[[], Inputs]]
names = hf.model_types


def make(name: str, real: bool) -> Made:
    """A model and its inputs."""
    if name not in ARGUMENTS:
        loaded = load(f"hf:{name}", real=real)
    else:
        with TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps({"model_type": name, **ARGUMENTS[name]}))
            loaded = load(f"hf:{folder}", real=real)
    if name in SESSIONS:
        return loaded.model, partial(_session, name)
    return loaded.model, loaded.default_inputs


SIZES: Mapping[str, int] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embed_dim", "projection_dim", "encoder_hidden_size"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "n_inner", "d_ff"), 128),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers", "n_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "num_key_value_heads"), 4),
    **dict.fromkeys(("head_dim", "d_kv"), 16),
}
"""What configurations have in common, and how small a model is made."""


def small(name: str, real: bool) -> Made:
    """A model of few and narrow layers; of its usual size where that can't be built or does not run."""
    from transformers import CONFIG_MAPPING

    try:
        config = _smaller(CONFIG_MAPPING[name](**ARGUMENTS.get(name, {})).to_dict())
        with TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps({**config, "model_type": name}, default=str))
            loaded = load(f"hf:{folder}", real=real)
        given = loaded.default_inputs()
        fxcost.analyze(loaded.model, given.args, dict(given.kwargs))
    except fxcost.UnknownValueError:
        pass
    except Exception:
        return make(name, real)
    return loaded.model, loaded.default_inputs


def _smaller(config: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found[key] = _smaller(value)
        elif type(value) is int and key in SIZES:
            found[key] = min(value, SIZES[key])
        elif key == "layer_types" and isinstance(value, list):
            found[key] = value[:2]
        else:
            found[key] = value
    return found


def _point(session: Any) -> None:
    """One point on the one object that is to be tracked."""
    point = {"point_coords": torch.tensor([[[[500.0, 500.0]]]]), "point_labels": torch.ones(1, 1, 1, dtype=torch.int32)}
    session.add_point_inputs(session.obj_id_to_idx(1), 0, point)
    session.obj_with_new_inputs = [1]


def _words(session: Any) -> None:
    """Words for what is to be found."""
    prompt = session.add_prompt("person")
    session.prompt_input_ids[prompt] = torch.arange(1, 33)[None]
    session.prompt_attention_masks[prompt] = torch.ones(1, 32, dtype=torch.int64)


SESSIONS: Mapping[str, tuple[str, int, Callable[[Any], None]]] = {
    "edgetam_video": ("EdgeTamVideoInferenceSession", 1024, _point),
    "sam2_video": ("Sam2VideoInferenceSession", 1024, _point),
    "sam3_tracker_video": ("Sam3TrackerVideoInferenceSession", 1008, _point),
    "sam3_video": ("Sam3VideoInferenceSession", 1008, _words),
}
"""Models of videos that take an object with the frames and the prompt: its class, the frames' size, the prompt."""


def _session(kind: str) -> Inputs:
    """The first frame of a video, with a prompt."""
    class_name, size, prompt = SESSIONS[kind]
    session_class = getattr(importlib.import_module(f"transformers.models.{kind}.modeling_{kind}"), class_name)
    session = session_class(torch.zeros(1, 3, size, size), video_height=size, video_width=size, dtype=torch.float32)
    prompt(session)
    return Inputs((), {"inference_session": session, "frame_idx": 0})


_ROTARY = {"rope_type": "default", "rope_theta": 10_000.0}
_GLM_ROTARY = {**_ROTARY, "partial_rotary_factor": 0.5, "mrope_section": [8, 12, 12]}
_HUNYUAN = {"head_dim": 128, "rope_parameters": {**_ROTARY, "mrope_section": [16, 16, 16, 16]}}
_ROUTED = {"num_experts_per_tok": 6, "n_group": 1, "topk_group": 1}
_EXPERTS = {"n_routed_experts": 64, "n_shared_experts": 2, **_ROUTED}
_INDEXED = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 256,
    "indexer_budget": 2048,
    "indexer_compress_ratio": 16,
}
_REPVIT = {
    "model_type": "timm_wrapper",
    "architecture": "repvit_m1",
    "num_classes": 1000,
    "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
}
_KERNELS = {"long": 7, "mid": 5, "short": 3}
_ALONG: Mapping[str, Callable[[int], list[Any]]] = {
    "vertical_long_to_small_conv": lambda k: [[k, 1], [1, 1], [k // 2, 0]],
    "horizontal_small_to_long_conv": lambda k: [[1, k], [1, 1], [0, k // 2]],
    "symmetric_conv_long": lambda k: [[k, k], [1, 1], [k // 2, k // 2]],
}
_OCR_NECK = {
    "intraclass_block_config": {
        "reduce_channel": [1, 1, 0],
        "return_channel": [1, 1, 0],
        **{f"{way}_{length}ratio": make(k) for way, make in _ALONG.items() for length, k in _KERNELS.items()},
    },
    "scale_factor_list": [1, 2, 4, 8],
    "kernel_list": [3, 2, 2],
}
"""The neck of the PP-OCR detectors: kernel, stride and padding of each convolution."""


def _lcnet(*widths: int) -> dict[str, Any]:
    """PP-LCNetV4 as a backbone of four stages: the first block of a stage halves the size, each second one gates."""

    def stage(before: int, width: int, depth: int) -> list[Any]:
        first = [3, before, width, 1 if before == width else 2, before == width]
        return [first, *([3, width, width, 1, i % 2 == (before != width)] for i in range(1, depth))]

    before = (widths[0], *widths)
    return {
        "model_type": "pp_lcnet_v4",
        "stem_channels": [3, widths[0] // 2, widths[0]],
        "block_configs": [stage(*pair, depth) for *pair, depth in zip(before, widths, (2, 3, 5, 3), strict=False)],
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }


def _each(kinds: str, **arguments: Any) -> dict[str, dict[str, Any]]:
    """The same entries for several types."""
    return dict.fromkeys(kinds.split(), arguments)


ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    **_each("autoformer informer time_series_transformer", prediction_length=24),
    **_each("hunyuan_v1_dense hunyuan_v1_moe ministral glm4v_moe_text", head_dim=128),
    **_each("glm4v glm46v glmga glm_image", text_config={"rope_parameters": _GLM_ROTARY}),
    **_each("glm4v_text glm_image_text", rope_parameters=_GLM_ROTARY),
    **_each("blip-2 instructblip", image_token_index=5),
    **_each("deepseek_v2 dots1", **_EXPERTS),
    "aya_vision": {"vision_config": {"num_attention_heads": 16}},
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "blt": {"use_cache": False},
    "chameleon": {"vocabulary_map": {"<image>": 8711}},
    "cohere_compass": {"text_config": {"rope_parameters": {"full_attention": _ROTARY}}},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROTARY}},
    "dbrx": {"attn_config": {"rope_theta": 500_000.0, "clip_qkv": 8.0}},
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense", *["sparse"] * 31], **_ROUTED}},
    "diffusion_gemma": {"text_config": {"num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704}},
    "edgetam": {"vision_config": {"backbone_config": _REPVIT}},
    "edgetam_video": {"vision_config": {"model_type": "edgetam_vision_model", "backbone_config": _REPVIT}},
    "edgetam_vision_model": {"backbone_config": _REPVIT},
    "emu3": {"vocabulary_map": {"<image>": 151_851}},
    "esm": {"vocab_size": 33, "mask_token_id": 32, "pad_token_id": 1},
    "evolla": {"architectures": ["EvollaModel"]},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}},
    "glm4v_moe": {"text_config": {"head_dim": 128}},
    "granite4_vision": {"deepstack_layer_map": [[-19, 9], [-13, 6], [-7, 3], [-1, 0]], "downsample_rate": "4/8"},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"], "num_hidden_layers": 2},
    "higgs_audio_v2_tokenizer": {
        "acoustic_model_config": {"downsampling_ratios": [8, 5, 4, 2, 3], "upsampling_ratios": [8, 5, 4, 2, 3]}
    },
    "hunyuan_vl": {"text_config": _HUNYUAN},
    "hunyuan_vl_text": _HUNYUAN,
    "instructblipvideo": {"video_token_index": 5},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention"], "num_hidden_layers": 3},
    "lw_detr": {"projector_scale_factors": [1.0]},
    "moonshine_streaming": {"num_key_value_heads": 8},
    "nemotron": {"num_key_value_heads": 8},
    "perception_lm": {
        "vision_config": {
            "model_type": "timm_wrapper",
            "architecture": "vit_pe_lang_large_patch14_448",
            "num_classes": 1000,
            "model_args": {"embed_dim": 1024},
        }
    },
    "pp_doclayout_v2": {"num_labels": 25, "class_thresholds": [0.5] * 25, "class_order": [*range(25)]},
    "pp_ocrv5_server_det": _OCR_NECK,
    "pp_ocrv6_medium_det": {"backbone_config": _lcnet(128, 256, 512, 896), **_OCR_NECK},
    "pp_ocrv6_small_det": {
        "backbone_config": _lcnet(48, 96, 192, 384),
        "layer_list_out_channels": [48, 96, 192, 384],
    },
    "qwen3_omni_moe_thinker": {"text_config": {"head_dim": 128, "num_attention_heads": 32}},
    "qwen4_exp": {"text_config": _INDEXED},
    "qwen4_exp_text": _INDEXED,
    "step3p7": {"text_config": {"sliding_window": 512}},
    "t5gemma2_encoder": {"text_config": {"dropout_rate": 0.0}},
    "timm_backbone": {"backbone": "resnet50"},
    "uvdoc": {"backbone_config": {"model_type": "uvdoc_backbone", "out_indices": [1, 2, 3, 4, 5, 6]}},
    "vitmatte": {
        "convstream_hidden_sizes": [48, 96, 192],
        "fusion_hidden_sizes": [256, 128, 64, 32],
        "backbone_config": {
            "model_type": "vitdet",
            "hidden_size": 384,
            "num_attention_heads": 6,
            "image_size": 512,
            "num_channels": 4,
            "use_relative_position_embeddings": True,
            "window_size": 14,
            "window_block_indices": [0, 1, 3, 4, 6, 7, 9, 10],
            "residual_block_indices": [2, 5, 8, 11],
            "out_features": ["stage12"],
        },
    },
    "xmod": {"default_language": "en_XX"},
}
