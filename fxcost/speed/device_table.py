"""The devices that are known by name, each with the vendor's document that its figures are from.

All peaks are dense. NVIDIA's newer data sheets print tensor-core figures "with sparsity" only: those are halved here,
and the source says so. "float32" is the peak of plain float32 arithmetic, "tf32" that of TensorFloat-32, which PyTorch
uses for convolutions by default and for matrix products if told to. Integer peaks count operations.

Left out is what no document of the vendor gives in full: Apple's M series (bandwidth, but no FLOPS).
"""

from __future__ import annotations

from typing import Any

TERA, GIGA = 10**12, 10**9
"""Vendors count FLOPS, bandwidth and memory in powers of ten, with few exceptions (which are written as such)."""
BOOST = 1.1
"""NVIDIA prints the peaks of RTX cards for a "boost clock", which is a typical one: cards run faster while power and
heat allow. timm's published runs reach 1.07 × the peak of an RTX 3090 and 1.06 × that of an RTX 4090."""


def _device(
    name: str, keys: str, gigabytes: float, bytes_per_s: float, source: str, halved: bool = False, **tera: float
) -> dict[str, Any]:
    """The fields of a :class:`fxcost.Device` from figures as data sheets print them: GB, GB/s and TFLOPS."""
    return {
        "name": name,
        "keys": tuple(keys.split()),
        "flops_per_s": {dtype: value * TERA for dtype, value in tera.items()},
        "bytes_per_s": bytes_per_s * GIGA,
        "memory_bytes": int(gigabytes * GIGA),
        "clock": BOOST if "RTX" in name else 1.0,
        "source": f"{source}; tensor-core figures there are with sparsity, halved here" if halved else source,
    }


_V100 = (
    "NVIDIA V100 datasheet: "
    "images.nvidia.com/content/technologies/volta/pdf/volta-v100-datasheet-update-us-1165301-r5.pdf"
)
_T4 = (
    "NVIDIA T4 datasheet: "
    "nvidia.com/content/dam/en-zz/Solutions/Data-Center/tesla-t4/t4-tensor-core-datasheet-951643.pdf"
)
_A10 = "NVIDIA A10 datasheet: nvidia.com/content/dam/en-zz/Solutions/Data-Center/a10/pdf/a10-datasheet.pdf"
_A10G = (
    "NVIDIA A10G datasheet, as AWS publishes it: "
    "nvidia.com, d1.awsstatic.com/product-marketing/ec2/NVIDIA_AWS_A10G_DataSheet_FINAL_02_17_2022.pdf"
)
_QUADRO_RTX_5000 = (
    "NVIDIA Quadro RTX 5000 data sheet: nvidia.com/content/dam/en-zz/Solutions/design-visualization/"
    "quadro-product-literature/quadro-rtx-5000-data-sheet-us-nvidia-704120-r4-web.pdf"
)
_A100 = (
    "NVIDIA A100 datasheet: "
    "nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf"
)
_AMPERE = (
    "NVIDIA A100 Tensor Core GPU Architecture whitepaper, table 4: "
    "images.nvidia.com/aem-dam/en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf"
)
_L4 = "NVIDIA L4 datasheet: resources.nvidia.com/en-us-gpu-resources/l4-tensor-datasheet"
_L40S = "NVIDIA L40S datasheet: resources.nvidia.com/en-us-l40s/l40s-datasheet-28413"
_H100 = "NVIDIA H100 datasheet: resources.nvidia.com/en-us-gpu-resources/h100-datasheet-24306"
_H200 = "NVIDIA H200 datasheet: resources.nvidia.com/en-us-gpu-resources/hpc-datasheet-sc23"
_B200 = (
    "NVIDIA Blackwell Architecture Technical Overview, HGX B200, one of its GPUs: "
    "resources.nvidia.com/en-us-blackwell-architecture"
)
_GA102 = (
    "NVIDIA Ampere GA102 GPU Architecture whitepaper, appendix A (FP32 accumulation): "
    "nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf"
)
_ADA = (
    "NVIDIA Ada GPU Architecture whitepaper, appendix A (FP32 accumulation): "
    "images.nvidia.com/aem-dam/Solutions/Data-Center/l4/nvidia-ada-gpu-architecture-whitepaper-v2.1.pdf"
)
_RTX_BLACKWELL = (
    "NVIDIA RTX Blackwell GPU Architecture whitepaper, appendix A (FP32 accumulation): "
    "images.nvidia.com/aem-dam/Solutions/geforce/blackwell/nvidia-rtx-blackwell-gpu-architecture.pdf"
)
_ORIN = (
    "NVIDIA Jetson AGX Orin Series technical brief: 170 sparse INT8 TOPS, halved; float16 is half of INT8 (16 HMMA to "
    "32 IMMA): nvidia.com/content/dam/en-zz/Solutions/gtcf21/jetson-orin/nvidia-jetson-agx-orin-technical-brief.pdf"
)
_I9_10940X = (
    "Intel Core i9-10940X: 14 cores at 3.3 GHz, two 512-bit FMA units each, four channels of DDR4-2933: "
    "intel.com/content/www/us/en/products/sku/198014"
)
_RTX_PRO_6000 = (
    "NVIDIA RTX PRO 6000 Blackwell {} datasheet: FP32 and AI TOPS (FP4 with sparsity, halved here); float16 with FP32 "
    "accumulation is a quarter of dense FP4, TF32 an eighth: nvidia.com/en-us/products/workstations/"
    "professional-desktop-gpus/rtx-pro-6000{}"
)
_MI300X = (
    "AMD Instinct MI300X data sheet: "
    "amd.com/content/dam/amd/en/documents/instinct-tech-docs/data-sheets/amd-instinct-mi300x-data-sheet.pdf"
)
_L40 = "NVIDIA L40 datasheet: images.nvidia.com/content/Solutions/data-center/vgpu-L40-datasheet.pdf"
_A40 = "NVIDIA A40 datasheet: images.nvidia.com/content/Solutions/data-center/a40/nvidia-a40-datasheet.pdf"
_A30 = "NVIDIA A30 datasheet: nvidia.com/content/dam/en-zz/Solutions/data-center/products/a30-gpu/pdf/a30-datasheet.pdf"
_GH200 = (
    "NVIDIA GH200 Grace Hopper Superchip datasheet, its GPU: "
    "resources.nvidia.com/en-us-grace-cpu/grace-hopper-superchip"
)
_GB200 = "NVIDIA GB200 NVL72 specifications, one GPU of a GB200 superchip: nvidia.com/en-us/data-center/gb200-nvl72"
_GB300 = "NVIDIA GB300 NVL72 specifications, one of its 72 GPUs: nvidia.com/en-us/data-center/gb300-nvl72"
_B300 = "NVIDIA HGX B300 specifications, one of its eight GPUs: nvidia.com/en-us/data-center/hgx"
_MI200 = (
    "AMD Instinct MI200 series data sheet, both dies: "
    "amd.com/content/dam/amd/en/documents/instinct-business-docs/product-briefs/instinct-mi250x-datasheet.pdf"
)
_MI325X = (
    "AMD Instinct MI325X data sheet: "
    "amd.com/content/dam/amd/en/documents/instinct-tech-docs/product-briefs/instinct-mi325x-datasheet.pdf"
)
_MI355X = (
    "AMD Instinct MI355X data sheet: "
    "amd.com/content/dam/amd/en/documents/instinct-tech-docs/product-briefs/amd-instinct-mi355x-gpu-brochure.pdf"
)
_TPU = "Google Cloud TPU documentation: docs.cloud.google.com/tpu/docs/"

DEVICES: tuple[dict[str, Any], ...] = (
    _device(
        "NVIDIA V100 SXM2 32GB", "v100 v100-sxm2 tesla-v100-sxm2-32gb", 32, 900, _V100,
        float64=7.8, float32=15.7, float16=125,
    ),
    _device(
        "NVIDIA V100 PCIe 32GB", "v100-pcie tesla-v100-pcie-32gb", 32, 900, _V100,
        float64=7, float32=14, float16=112,
    ),
    _device(
        "NVIDIA V100 SXM2 16GB", "v100-16gb tesla-v100-sxm2-16gb", 16, 900, _V100,
        float64=7.8, float32=15.7, float16=125,
    ),
    _device(
        "NVIDIA A100 PCIe 40GB", "a100-pcie-40gb", 40, 1555, _AMPERE,
        float64=19.5, float32=19.5, tf32=156, bfloat16=312, float16=312, int8=624,
    ),
    _device("NVIDIA T4", "t4 tesla-t4", 16, 300, _T4, float32=8.1, float16=65, int8=130),
    _device("NVIDIA A10", "a10", 24, 600, _A10, float32=31.2, tf32=62.5, bfloat16=125, float16=125, int8=250),
    _device(
        "NVIDIA A100 SXM4 40GB", "a100-40gb", 40, 1555, _AMPERE,
        float64=19.5, float32=19.5, tf32=156, bfloat16=312, float16=312, int8=624,
    ),
    _device(
        "NVIDIA A100 SXM4 80GB", "a100 a100-80gb", 80, 2039, _A100,
        float64=19.5, float32=19.5, tf32=156, bfloat16=312, float16=312, int8=624,
    ),
    _device(
        "NVIDIA A100 PCIe 80GB", "a100-pcie a100-80gb-pcie", 80, 1935, _A100,
        float64=19.5, float32=19.5, tf32=156, bfloat16=312, float16=312, int8=624,
    ),
    _device(
        "NVIDIA L4", "l4", 24, 300, _L4, halved=True,
        float32=30.3, tf32=60, bfloat16=121, float16=121, float8=242.5, int8=242.5,
    ),
    _device(
        "NVIDIA L40S", "l40s", 48, 864, _L40S,
        float32=91.6, tf32=183, bfloat16=362.05, float16=362.05, float8=733, int8=733,
    ),
    _device(
        "NVIDIA H100 SXM5 80GB", "h100 h100-sxm h100-sxm5 h100-80gb-hbm3", 80, 3350, _H100, halved=True,
        float64=67, float32=67, tf32=494.5, bfloat16=989.5, float16=989.5, float8=1979, int8=1979,
    ),
    _device(
        "NVIDIA H100 PCIe 80GB", "h100-pcie", 80, 2000, _H100, halved=True,
        float64=51, float32=51, tf32=378, bfloat16=756.5, float16=756.5, float8=1513, int8=1513,
    ),
    _device(
        "NVIDIA H200 SXM 141GB", "h200 h200-sxm", 141, 4800, _H200, halved=True,
        float64=67, float32=67, tf32=494.5, bfloat16=989.5, float16=989.5, float8=1979, int8=1979,
    ),
    _device(
        "NVIDIA B200 SXM 180GB", "b200", 180, 8000, _B200,
        float64=40, float32=80, tf32=1100, bfloat16=2250, float16=2250, float8=4500, int8=4500, float4=9000,
    ),
    _device(
        "NVIDIA GeForce RTX 3090", "rtx3090 3090", 24, 936, _GA102,
        float32=35.6, tf32=35.6, bfloat16=71, float16=71, int8=284,
    ),
    _device(
        "NVIDIA GeForce RTX 4090", "rtx4090 4090", 24, 1008, _ADA,
        float32=82.6, tf32=82.6, bfloat16=165.2, float16=165.2, float8=330.3, int8=660.6,
    ),
    _device(
        "NVIDIA GeForce RTX 5090", "rtx5090 5090", 32, 1792, _RTX_BLACKWELL,
        float32=104.8, tf32=104.8, bfloat16=209.5, float16=209.5, float8=419, int8=838,
    ),
    _device(
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "rtx-pro-6000", 96, 1792,
        _RTX_PRO_6000.format("Workstation Edition", ""),
        float32=125, tf32=250, bfloat16=500, float16=500, float8=1000, int8=1000, float4=2000,
    ),
    _device(
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "rtx-pro-6000-max-q", 96, 1792,
        _RTX_PRO_6000.format("Max-Q Workstation Edition", "-max-q"),
        float32=110, tf32=219.4, bfloat16=438.9, float16=438.9, float8=877.8, int8=877.8, float4=1755.5,
    ),
    _device("Intel Core i9-10940X", "i9-10940x", 256, 93.9, _I9_10940X, float32=2.957, float64=1.478),
    _device(
        "NVIDIA Jetson AGX Orin 64GB", "jetson-agx-orin orin", 64, 204.8, _ORIN, float32=5.3, float16=42.5, int8=85
    ),
    _device(
        "AMD Instinct MI300X", "mi300x amd-instinct-mi300x-oam", 192, 5300, _MI300X,
        float64=163.4, float32=163.4, tf32=653.7, bfloat16=1307.4, float16=1307.4, float8=2614.9, int8=2614.9,
    ),
    _device("Google TPU v2", "tpu-v2 tpuv2", 16 * 1.073741824, 700, f"{_TPU}v2", bfloat16=46),
    _device("Google TPU v3", "tpu-v3 tpuv3", 32 * 1.073741824, 900, f"{_TPU}v3", bfloat16=123),
    _device("Google TPU v4", "tpu-v4 tpuv4", 32 * 1.073741824, 1200, f"{_TPU}v4", bfloat16=275, int8=275),
    _device("Google TPU v5e", "tpu-v5e tpuv5e v5litepod", 16, 819, f"{_TPU}v5e", bfloat16=197, int8=393),
    _device("Google TPU v5p", "tpu-v5p tpuv5p", 95, 2765, f"{_TPU}v5p", bfloat16=459),
    _device(
        "Google TPU v6e", "tpu-v6e tpuv6e trillium", 32, 1638, f"{_TPU}v6e", bfloat16=918, int8=1836
    ),
    _device(
        "Google TPU7x", "tpu7x tpu-v7x tpuv7x ironwood", 192 * 1.073741824, 7380, f"{_TPU}tpu7x",
        bfloat16=2307, float8=4614,
    ),
    _device(
        "NVIDIA H100 NVL 94GB", "h100-nvl", 94, 3900, _H100, halved=True,
        float64=60, float32=60, tf32=417.5, bfloat16=835.5, float16=835.5, float8=1670.5, int8=1670.5,
    ),
    _device(
        "NVIDIA GH200 96GB", "gh200 gh200-96gb gh200-480gb", 96, 4000, _GH200, halved=True,
        float64=67, float32=67, tf32=494.5, bfloat16=989.5, float16=989.5, float8=1979, int8=1979,
    ),
    _device(
        "NVIDIA GB200", "gb200", 186, 8000, _GB200, halved=True,
        float64=40, float32=80, tf32=1250, bfloat16=2500, float16=2500, float8=5000, int8=5000, float4=10000,
    ),
    _device(
        "NVIDIA GB300", "gb300", 279, 8000, _GB300, halved=True,
        float64=1.3, float32=83, tf32=1250, bfloat16=2500, float16=2500, float8=5000, float4=15000,
    ),
    _device(
        "NVIDIA B300 SXM", "b300 b300-sxm6-ac", 270, 8000, _B300, halved=True,
        float64=1.25, float32=75, tf32=1125, bfloat16=2250, float16=2250, float8=4500, float4=13500,
    ),
    _device(
        "NVIDIA V100S PCIe 32GB", "v100s v100s-pcie tesla-v100s-pcie-32gb", 32, 1134, _V100,
        float64=8.2, float32=16.4, float16=130,
    ),
    _device("NVIDIA A10G", "a10g", 24, 600, _A10G, float32=35, tf32=35, bfloat16=70, float16=70, int8=140),
    _device("NVIDIA Quadro RTX 5000", "quadro-rtx-5000", 16, 448, _QUADRO_RTX_5000, float32=11.2, float16=89.2),
    _device(
        "NVIDIA L40", "l40", 48, 864, _L40,
        float32=90.5, tf32=90.5, bfloat16=181.05, float16=181.05, float8=362, int8=362,
    ),
    _device(
        "NVIDIA A40", "a40", 48, 696, _A40, float32=37.4, tf32=74.8, bfloat16=149.7, float16=149.7, int8=299.3
    ),
    _device(
        "NVIDIA A30", "a30", 24, 933, _A30,
        float64=10.3, float32=10.3, tf32=82, bfloat16=165, float16=165, int8=330,
    ),
    _device(
        "NVIDIA RTX A6000", "a6000 rtx-a6000", 48, 768, _GA102,
        float32=38.7, tf32=77.4, bfloat16=154.8, float16=154.8, int8=309.7,
    ),
    _device(
        "NVIDIA RTX 6000 Ada Generation", "rtx6000-ada rtx-6000-ada", 48, 960, _ADA,
        float32=91.1, tf32=182.1, bfloat16=364.2, float16=364.2, float8=728.5, int8=728.5,
    ),
    _device(
        "NVIDIA GeForce RTX 3080", "rtx3080 3080", 10, 760, _GA102,
        float32=29.8, tf32=29.8, bfloat16=59.5, float16=59.5, int8=238,
    ),
    _device(
        "NVIDIA GeForce RTX 4080", "rtx4080 4080", 16, 716.8, _ADA,
        float32=48.7, tf32=48.7, bfloat16=97.5, float16=97.5, float8=194.9, int8=389.9,
    ),
    _device(
        "NVIDIA GeForce RTX 4070 Ti", "rtx4070ti 4070ti", 12, 504.2, _ADA,
        float32=40.1, tf32=40.1, bfloat16=80.2, float16=80.2, float8=160.4, int8=320.7,
    ),
    _device(
        "NVIDIA GeForce RTX 5080", "rtx5080 5080", 16, 960, _RTX_BLACKWELL,
        float32=56.3, tf32=56.3, bfloat16=112.6, float16=112.6, float8=225.1, int8=450.2, float4=900.4,
    ),
    _device(
        "NVIDIA GeForce RTX 5070 Ti", "rtx5070ti 5070ti", 16, 896, _RTX_BLACKWELL,
        float32=43.9, tf32=43.9, bfloat16=87.9, float16=87.9, float8=175.8, int8=351.5, float4=703,
    ),
    _device(
        "NVIDIA GeForce RTX 5070", "rtx5070 5070", 12, 672, _RTX_BLACKWELL,
        float32=30.9, tf32=30.9, bfloat16=61.7, float16=61.7, float8=123.5, int8=246.9, float4=493.9,
    ),
    _device(
        "AMD Instinct MI250X", "mi250x", 128, 3276.8, _MI200,
        float64=95.7, float32=95.7, bfloat16=383, float16=383, int8=383,
    ),
    _device(
        "AMD Instinct MI325X", "mi325x", 256, 6000, _MI325X,
        float64=163.4, float32=163.4, tf32=653.7, bfloat16=1307.4, float16=1307.4, float8=2614.9, int8=2614.9,
    ),
    _device(
        "AMD Instinct MI355X", "mi355x", 288, 8000, _MI355X,
        float64=78.6, float32=157.3, bfloat16=2516.6, float16=2516.6, float8=5033.2, int8=5033.2, float4=10066.3,
    ),
)  # fmt: skip
"""In the order in which they are listed."""
