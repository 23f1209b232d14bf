"""Diffusion transformers of diffusers that need more than their names and configuration tell."""

from __future__ import annotations

import torch
from zoo_diffusers_case import (
    HUNYUAN,
    NOW,
    PROTEIN,
    RESIDUES,
    TIME,
    Case,
    controls,
    empty_cache,
    fed,
    given,
    ones,
    places,
)

from fxcost.model.inputs import spec

TRANSFORMERS: dict[str, Case] = {
    "AceStepTransformer1DModel": given(
        hidden_states=spec(1, 256, 64),
        timestep_r=NOW,
        encoder_hidden_states=spec(1, 77, 2048),
        context_latents=spec(1, 256, 128),
    ),
    "AllegroTransformer3DModel": given(encoder_hidden_states=spec(1, 77, 4096)),
    "AnyFlowFARTransformer3DModel": given(
        hidden_states=spec(1, 4, 16, 32, 32),
        timestep=ones(1, 4),
        r_timestep=ones(1, 4),
        chunk_partition=[1, 3],
        clean_hidden_states=spec(1, 4, 16, 32, 32),
        clean_timestep=ones(1, 4),
    ),
    "AnyFlowTransformer3DModel": given(
        hidden_states=spec(1, 4, 16, 32, 32), timestep=ones(1, 4), r_timestep=ones(1, 4)
    ),
    "BriaFibo2Transformer2DModel": given(
        hidden_states=spec(1, 32, 64, 64), encoder_hidden_states=spec(1, 6, 256, 7680)
    ),
    "BriaFiboTransformer2DModel": given(text_encoder_layers=[spec(1, 77, 2048)] * 57),
    "CogVideoXTransformer3DModel": given(
        hidden_states=spec(1, 13, 16, 60, 90), encoder_hidden_states=spec(1, 226, 4096)
    ),
    "ConsisIDTransformer3DModel": given(
        hidden_states=spec(1, 13, 16, 60, 90), encoder_hidden_states=spec(1, 226, 4096)
    ),
    "Cosmos3OmniTransformer": fed(
        input_ids=ones(77),
        text_indexes=torch.arange(77),
        position_ids=torch.arange(77 + 256).repeat(3, 1),
        und_len=77,
        sequence_length=77 + 256,
        vision_tokens=[spec(1, 48, 1, 32, 32)],
        vision_token_shapes=[[1, 16, 16]],
        vision_sequence_indexes=torch.arange(77, 77 + 256),
        vision_mse_loss_indexes=torch.arange(77, 77 + 256),
        vision_timesteps=ones(256),
        vision_noisy_frame_indexes=[torch.tensor([0])],
    ),
    "CosmosTransformer3DModel": given(padding_mask=torch.zeros(1, 1, 64, 64), fps=16),
    "DiTTransformer2DModel": given(class_labels=torch.tensor([1])),
    "DreamLiteTransformer2DModel": fed(
        config={"in_channels": 320, "cross_attention_dim": 768},
        hidden_states=spec(1, 320, 32, 32),
        encoder_hidden_states=spec(1, 77, 768),
    ),
    "EasyAnimateTransformer3DModel": fed(
        config={"in_channels": 16, "out_channels": 16, "patch_size": 2},
        hidden_states=spec(1, 16, 4, 60, 90),
        timestep=TIME,
        encoder_hidden_states=spec(1, 77, 3584),
    ),
    "ErnieImageTransformer2DModel": given(
        hidden_states=spec(1, 128, 64, 64), text_bth=spec(1, 77, 2560), text_lens=torch.tensor([77])
    ),
    "GlmImageTransformer2DModel": given(
        encoder_hidden_states=spec(1, 77, 1472), prior_token_id=ones(1, 1024), prior_token_drop=torch.tensor([False])
    ),
    "HiDreamImageTransformer2DModel": fed(
        config={
            "patch_size": 2,
            "in_channels": 16,
            "caption_channels": [4096, 4096],
            "llama_layers": [*range(48)],
            "axes_dims_rope": (64, 32, 32),
        },
        hidden_states=spec(1, 16, 64, 64),
        timesteps=TIME,
        encoder_hidden_states_t5=spec(1, 77, 4096),
        encoder_hidden_states_llama3=spec(48, 1, 77, 4096),
        pooled_embeds=spec(1, 2048),
    ),
    "HunyuanDiT2DControlNetModel": fed(
        config={"in_channels": 4, "patch_size": 2, "sample_size": 64, "hidden_size": 1408},
        **HUNYUAN,
        controlnet_cond=spec(1, 4, 64, 64),
    ),
    "HunyuanDiT2DModel": fed(
        config={"in_channels": 4, "patch_size": 2, "sample_size": 64, "hidden_size": 1408}, **HUNYUAN
    ),
    "HunyuanDiT2DMultiControlNetModel": fed(
        config=controls("HunyuanDiT2DControlNetModel", in_channels=4, patch_size=2, sample_size=64, hidden_size=1408),
        **HUNYUAN,
        controlnet_cond=[spec(1, 4, 64, 64)],
        conditioning_scale=[1.0],
    ),
    "HunyuanVideo15Transformer3DModel": given(
        encoder_hidden_states_2=spec(1, 77, 1472),
        encoder_attention_mask_2=ones(1, 77),
        encoder_attention_mask=ones(1, 77),
        image_embeds=spec(1, 729, 1152),
    ),
    "HunyuanVideoFramepackTransformer3DModel": given(
        config={"has_clean_x_embedder": True, "has_image_proj": True},
        image_embeds=spec(1, 729, 1152),
        guidance=torch.tensor([1.0]),
        indices_latents=torch.arange(4),
        latents_clean=spec(1, 16, 2, 64, 64),
        indices_latents_clean=torch.arange(2),
        latents_history_2x=spec(1, 16, 2, 64, 64),
        indices_latents_history_2x=torch.arange(2),
        latents_history_4x=spec(1, 16, 16, 64, 64),
        indices_latents_history_4x=torch.arange(16),
    ),
    "Ideogram4Transformer2DModel": given(
        hidden_states=spec(1, 77 + 256, 128),
        encoder_hidden_states=spec(1, 77 + 256, 53_248),
        position_ids=torch.zeros(1, 77 + 256, 3, dtype=torch.int64),
        segment_ids=torch.zeros(1, 77 + 256, dtype=torch.int64),
        indicator=torch.cat((torch.zeros(1, 77), torch.ones(1, 256)), 1).long(),
    ),
    "JoyImageEditPlusTransformer3DModel": given(hidden_states=spec(1, 1024, 16, 1, 2, 2), shape_list=[[[1, 32, 32]]]),
    "Kandinsky5Transformer3DModel": fed(
        hidden_states=spec(1, 4, 64, 64, 4),
        encoder_hidden_states=spec(1, 77, 3584),
        timestep=TIME,
        pooled_projections=spec(1, 768),
        visual_rope_pos=[torch.arange(4), torch.arange(32), torch.arange(32)],
        text_rope_pos=torch.arange(77),
    ),
    "Kandinsky6SRTransformer3DModel": fed(hidden_states=spec(1, 1, 32, 32, 129), timestep=TIME),
    "Kandinsky6Transformer3DModel": fed(
        hidden_states=spec(1, 4, 64, 64, 33),
        encoder_hidden_states=spec(1, 77, 3584),
        pooled_projections=spec(1, 768),
        timestep=TIME,
    ),
    "Krea2Transformer2DModel": given(
        hidden_states=spec(1, 256, 64),
        encoder_hidden_states=spec(1, 77, 12, 2560),
        position_ids=torch.cat((torch.zeros(77, 3, dtype=torch.int64), places(1, 16, 16))),
    ),
    "LTX2VideoTransformer3DModel": fed(
        hidden_states=spec(1, 256, 128),
        audio_hidden_states=spec(1, 64, 128),
        encoder_hidden_states=spec(1, 77, 3840),
        audio_encoder_hidden_states=spec(1, 77, 3840),
        timestep=TIME,
        num_frames=4,
        height=8,
        width=8,
        fps=24.0,
        audio_num_frames=64,
    ),
    "LTXVideoTransformer3DModel": given(
        encoder_hidden_states=spec(1, 77, 4096), encoder_attention_mask=ones(1, 77), num_frames=4, height=8, width=8
    ),
    "LatteTransformer3DModel": fed(
        config={
            "in_channels": 4,
            "patch_size": 2,
            "num_layers": 28,
            "cross_attention_dim": 1408,
            "norm_type": "ada_norm_single",
            "caption_channels": 4096,
            "num_embeds_ada_norm": 1000,
        },
        hidden_states=spec(1, 4, 16, 64, 64),
        timestep=TIME,
        encoder_hidden_states=spec(1, 77, 4096),
    ),
    "LongCatAudioDiTTransformer": given(
        hidden_states=spec(1, 256, 64),
        encoder_attention_mask=ones(1, 77, dtype=torch.bool),
        latent_cond=spec(1, 256, 64),
    ),
    "LongCatAudioDiTVae": fed(sample=spec(1, 1, 32_768)),
    "LuminaNextDiT2DModel": fed(
        config={"num_kv_heads": 32},
        hidden_states=spec(1, 4, 64, 64),
        timestep=TIME,
        encoder_hidden_states=spec(1, 77, 2048),
        encoder_mask=ones(1, 77, dtype=torch.bool),
        cross_attention_kwargs={},
        image_rotary_emb=spec(384, 384, 36, dtype=torch.complex64),
    ),
    "MiniMaxH3Transformer3DModel": fed(
        hidden_states=spec(1, 256, 96),
        audio_hidden_states=spec(1, 25, 32),
        encoder_hidden_states=spec(1, 77, 5120),
        timestep=NOW,
        timestep_indices=torch.zeros(358, dtype=torch.int64),
        token_tags=torch.zeros(358, dtype=torch.int64),
        position_ids=torch.zeros(358, 3, dtype=torch.int64),
        video_indices=torch.arange(256),
        audio_indices=torch.arange(256, 281),
        text_indices=torch.arange(281, 358),
    ),
    "MiniMaxMusic3Transformer1DModel": given(
        hidden_states=spec(1, 128, 256), encoder_hidden_states=spec(1, 256, 2048), timestep=NOW
    ),
    "NucleusMoEImageTransformer2DModel": given(
        hidden_states=spec(1, 256, 64),
        img_shapes=[[[1, 16, 16]]],
        encoder_hidden_states_mask=ones(1, 77),
        encoder_hidden_states=spec(1, 77, 3584),
    ),
    "OmniGenTransformer2DModel": fed(
        config={"rope_scaling": {"short_factor": [1.0] * 48, "long_factor": [1.0] * 48, "type": "su"}},
        hidden_states=spec(1, 4, 64, 64),
        timestep=NOW,
        input_ids=ones(1, 77),
        input_img_latents=[],
        input_image_sizes={},
        attention_mask=ones(1, 77 + 1 + 1024, 77 + 1 + 1024),
        position_ids=torch.arange(77 + 1 + 1024)[None],
    ),
    "PRXTransformer2DModel": given(encoder_hidden_states=spec(1, 77, 2304)),
    "PriorTransformer": fed(
        hidden_states=spec(1, 768), timestep=TIME, proj_embedding=spec(1, 768), encoder_hidden_states=spec(1, 77, 768)
    ),
    "QwenImage21Transformer2DModel": given(
        hidden_states=spec(1, 256, 64),
        encoder_hidden_states=spec(1, 77, 4096),
        img_shapes=[[[1, 16, 16]]],
        img_mask=torch.cat((torch.zeros(1, 77), torch.ones(1, 64)), 1).bool(),
    ),
    "QwenImageTransformer2DModel": given(img_shapes=[[[1, 16, 16]]]),
    "RFD4ProteinaTransformer": fed(
        bb_ca=spec(1, RESIDUES, 3),
        local_latents=spec(1, RESIDUES, 32),
        bb_ca_time=NOW,
        local_latents_time=NOW,
        **PROTEIN,
    ),
    "SanaTransformer2DModel": given(encoder_hidden_states=spec(1, 77, 2304)),
    "SanaVideoTransformer3DModel": given(encoder_hidden_states=spec(1, 77, 2304)),
    "SanaWMLTX2RefinerTransformer3DModel": fed(
        hidden_states=spec(1, 256, 128),
        encoder_hidden_states=spec(1, 77, 3840),
        timestep=TIME,
        video_rotary_emb=(spec(1, 256, 4096), spec(1, 256, 4096)),
    ),
    "SanaWMTransformer3DModel": given(
        timestep=ones(1, 1, 4), encoder_hidden_states=spec(1, 1, 77, 2304), mask=ones(1, 77)
    ),
    "StableAudio3DiTModel": fed(
        hidden_states=spec(1, 256, 256),
        timestep=NOW,
        encoder_hidden_states=spec(1, 77, 768),
        global_hidden_states=spec(1, 768),
        local_add_cond=spec(1, 257, 256),
    ),
    "StableAudioDiTModel": given(
        global_hidden_states=spec(1, 1, 1536), rotary_embedding=(spec(257, 32), spec(257, 32))
    ),
    "Transformer2DModel": fed(
        config={"in_channels": 320, "cross_attention_dim": 768},
        hidden_states=spec(1, 320, 32, 32),
        encoder_hidden_states=spec(1, 77, 768),
    ),
    "TransformerTemporalModel": fed(config={"in_channels": 320}, hidden_states=spec(16, 320, 32, 32), num_frames=16),
    "WanAnimate2Transformer3DModel": fed(  # the pass over the reference; the other one needs torch.compile
        hidden_states=[spec(16, 5, 32, 32)],
        condition_latents=[spec(20, 5, 32, 32)],
        timestep=TIME,
        encoder_hidden_states=[spec(77, 4096)],
        encoder_hidden_states_image=spec(1, 257, 1280),
        kv_cache=empty_cache,
        kv_cache_mode="extract",
        seq_len=5 * 16 * 16,
        offset_grid_sizes=torch.tensor([[5, 16, 16]]),
    ),
    "WanAnimateTransformer3DModel": given(
        hidden_states=spec(1, 36, 5, 32, 32),
        encoder_hidden_states_image=spec(1, 257, 1280),
        pose_hidden_states=spec(1, 16, 4, 32, 32),
        face_pixel_values=spec(1, 3, 13, 512, 512),
    ),
    "WanVACETransformer3DModel": given(control_hidden_states=spec(1, 96, 4, 64, 64)),
    "ZImageTransformer2DModel": fed(x=[spec(16, 1, 64, 64)], t=NOW, cap_feats=[spec(77, 2560)]),
}
