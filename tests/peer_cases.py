"""Models on which other tools' figures were recorded: `recorded.json` has their numbers under the same names.

Every case makes (model in eval mode, inputs). The small ones take one module or function each, the networks are
torchvision's; `googlenet_aux` has auxiliary heads, which do not run in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Case = tuple[nn.Module, tuple[torch.Tensor, ...]]
Maker = Callable[[], Case]


class Wrapped(nn.Module):
    """One child; a parameter of its own only where the child has none, since some tools need one."""

    def __init__(self, child: nn.Module) -> None:
        super().__init__()
        self.m = child
        if not any(True for _ in child.parameters()):
            self._p = nn.Parameter(torch.zeros(1))

    def forward(self, *x: torch.Tensor) -> Any:
        return self.m(*x)


class First(Wrapped):
    """Returns the first of the child's results."""

    def forward(self, *x: torch.Tensor) -> Any:
        return self.m(*x)[0]


class SelfAttention(Wrapped):
    """Query, key and value are one tensor."""

    def __init__(self, child: nn.Module, **options: Any) -> None:
        super().__init__(child)
        self.options = options

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.m(x, x, x, **self.options)[0]


class Function(nn.Module):
    """A function, and one parameter that it does not use."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.f = function
        self._p = nn.Parameter(torch.zeros(1))

    def forward(self, *x: torch.Tensor) -> Any:
        return self.f(*x)


class Weighted(nn.Module):
    """A function of the input and one parameter."""

    def __init__(self, function: Callable[..., Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.f = function
        self.w = nn.Parameter(torch.randn(*shape))

    def forward(self, x: torch.Tensor) -> Any:
        return self.f(x, self.w)


class SharedSame(nn.Module):
    """One layer called twice, under two names of one parent."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(16, 16)
        self.r = nn.ReLU()
        self.b = self.a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.r(self.a(x)))


class Block(nn.Module):
    """A layer that is given, and a norm."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.l = layer
        self.n = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.n(self.l(x))


class SharedAcross(nn.Module):
    """One layer under two parents, each of which calls it once."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(16, 16)
        self.p, self.q = Block(layer), Block(layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.q(self.p(x))


class Uncalled(nn.Module):
    """A layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(16, 8)
        self.unused = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x)


class ArticleAlexNet(nn.Module):
    """The AlexNet that an article on counting parameters and operations prints: convolutions without bias."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.feature_extraction = nn.Sequential(
            nn.Conv2d(3, 96, 11, 4, 2, bias=False),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 0),
            nn.Conv2d(96, 192, 5, 1, 2, bias=False),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 0),
            nn.Conv2d(192, 384, 3, 1, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, 1, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, 1, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 0),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.feature_extraction(x)
        return self.classifier(x.view(x.size(0), 256 * 6 * 6))


class MaskedAttention(nn.Module):
    """Self-attention with a mask that is a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.MultiheadAttention(64, 4)
        self.register_buffer("k", torch.zeros(7, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.m(x, x, x, attn_mask=self.k)[0]


class AttentionAndWeights(nn.Module):
    """Returns the attention weights too."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.MultiheadAttention(64, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return self.m(x, x, x)


class Recurrent(nn.Module):
    """A GRU and a linear layer on its sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.g, self.f = nn.GRU(10, 20), nn.Linear(20, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.g(x)
        return self.f(y)


class ReusedRelu(nn.Module):
    """One ReLU called three times, on different sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.r, self.p = nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.r(self.p(self.r(self.c(self.r(x)))))


class Out(nn.Module):
    """Takes `out` from what a segmentation model returns."""

    def __init__(self, child: nn.Module) -> None:
        super().__init__()
        self.m = child

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.m(x)["out"]


class Seq2Seq(nn.Module):
    """PyTorch's encoder-decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.t = nn.Transformer(32, 4, 1, 2, 64)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.t(a, b)


R = torch.randn
IMAGE, GRID = (2, 16, 5, 7), (2, 8, 10, 10)


def module(make: Callable[[], nn.Module], *shape: int, wrap: Any = Wrapped, **options: Any) -> Maker:
    """A module, wrapped, on one input."""
    return lambda: (wrap(make(), **options), (R(*shape),))


def call(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Maker:
    """A function of several inputs."""
    return lambda: (Function(function), tuple(R(*shape) for shape in shapes))


def network(name: str, batch: int = 1, **options: Any) -> Maker:
    """A network of torchvision."""

    def make() -> Case:
        models = __import__("torchvision").models
        return getattr(models, name)(**options), (R(batch, 3, 224, 224),)

    return make


def mha(*shape: int, options: Any = None, **arguments: Any) -> Maker:
    """Self-attention."""
    return lambda: (SelfAttention(nn.MultiheadAttention(64, 4, **arguments), **(options or {})), (R(*shape),))


def video() -> Case:
    """A network for video."""
    return __import__("torchvision").models.video.r3d_18(), (R(1, 3, 4, 64, 64),)


def segmentation(name: str) -> Maker:
    """A segmentation network."""

    def make() -> Case:
        models = __import__("torchvision").models.segmentation
        return Out(getattr(models, name)(weights=None, weights_backbone=None)), (R(1, 3, 128, 128),)

    return make


_MAIN = "resnet18 resnet50 alexnet vgg16 mobilenet_v2 mobilenet_v3_small densenet121 squeezenet1_0 shufflenet_v2_x1_0"
_MORE = "resnext50_32x4d wide_resnet50_2 vgg11_bn mnasnet1_0 regnet_y_400mf mobilenet_v3_large efficientnet_v2_s"
NETWORKS: dict[str, Maker] = {
    **{name: network(name) for name in (*_MAIN.split(), "efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t")},
    "resnet50_b4": network("resnet50", 4),
    "googlenet": network("googlenet", init_weights=False, aux_logits=False),
    "article_alexnet": lambda: (ArticleAlexNet(), (R(1, 3, 224, 224),)),
    "googlenet_aux": network("googlenet", init_weights=False),
    **{name: network(name) for name in (*_MORE.split(), "convnext_small", "swin_v2_t", "maxvit_t", "densenet161")},
    **{name: network(name) for name in ("shufflenet_v2_x0_5", "squeezenet1_1")},
    "inception_v3": lambda: (network("inception_v3", init_weights=False)()[0], (R(2, 3, 299, 299),)),
    "vit_b_32_b2": network("vit_b_32", 2),
    "r3d_18": video,
    "lraspp": segmentation("lraspp_mobilenet_v3_large"),
    "deeplabv3": segmentation("deeplabv3_resnet50"),
    "transformer": lambda: (Seq2Seq(), (R(6, 2, 32), R(5, 2, 32))),
}
RECURRENT: dict[str, Maker] = {
    "lstm": module(lambda: nn.LSTM(10, 20, 2), 5, 3, 10, wrap=First),
    "lstm_bi_bf": module(lambda: nn.LSTM(10, 20, 2, bidirectional=True, batch_first=True), 3, 5, 10, wrap=First),
    "lstm_nobias": module(lambda: nn.LSTM(10, 20, 1, bias=False), 5, 3, 10, wrap=First),
    "lstm_proj": module(lambda: nn.LSTM(10, 20, 1, proj_size=7), 5, 3, 10, wrap=First),
    "gru": module(lambda: nn.GRU(10, 20, 2), 5, 3, 10, wrap=First),
    "gru_bi": module(lambda: nn.GRU(10, 20, 2, bidirectional=True), 5, 3, 10, wrap=First),
    "gru_fc": lambda: (Recurrent(), (R(5, 3, 10),)),
    "rnn": module(lambda: nn.RNN(10, 20, 2), 5, 3, 10, wrap=First),
    "lstmcell": module(lambda: nn.LSTMCell(10, 20), 3, 10, wrap=First),
    "grucell": module(lambda: nn.GRUCell(10, 20), 3, 10),
    "rnncell": module(lambda: nn.RNNCell(10, 20), 3, 10),
}
_CROSS = ((7, 2, 64), (5, 2, 32), (5, 2, 48))
ATTENTION: dict[str, Maker] = {
    "mha": mha(7, 2, 64),
    "mha_noweights": mha(7, 2, 64, options={"need_weights": False}),
    "mha_bf": mha(2, 7, 64, batch_first=True),
    "mha_bf_noweights": mha(2, 7, 64, options={"need_weights": False}, batch_first=True),
    "mha_cross": lambda: (First(nn.MultiheadAttention(64, 4, kdim=32, vdim=48)), tuple(R(*s) for s in _CROSS)),
    "mha_mask": lambda: (MaskedAttention(), (R(7, 2, 64),)),
    "mha_both": lambda: (AttentionAndWeights(), (R(7, 2, 64),)),
    "tel": module(lambda: nn.TransformerEncoderLayer(64, 4), 7, 2, 64),
    "tel_bf": module(lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2, 7, 64),
    "sdpa": call(lambda q, k, v: F.scaled_dot_product_attention(q, k, v), (2, 4, 6, 16), (2, 4, 5, 16), (2, 4, 5, 8)),
    "sdpa_causal": call(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), (2, 4, 6, 16)),
    "sdpa_mask": call(lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m), (2, 4, 6, 16), (6, 6)),
}
CONVOLUTIONS: dict[str, Maker] = {
    "conv1d_gd": module(lambda: nn.Conv1d(8, 16, 3, dilation=2, groups=4), 2, 8, 50),
    "conv2d_bias_s2": module(lambda: nn.Conv2d(8, 16, 3, stride=2, padding=1), 2, 8, 15, 17),
    "conv2d_dw": module(lambda: nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), 2, 16, 9, 9),
    "conv2d_same": module(lambda: nn.Conv2d(8, 12, 3, padding="same"), *GRID),
    "conv2d_same_even": module(lambda: nn.Conv2d(8, 12, 4, padding="same"), *GRID),
    "conv2d_reflect": module(lambda: nn.Conv2d(8, 12, 3, padding=1, padding_mode="reflect"), *GRID),
    "conv2d_1x1": module(lambda: nn.Conv2d(8, 16, 1), *GRID),
    "conv2d_unbatched": module(lambda: nn.Conv2d(8, 12, 3), 8, 10, 11),
    "conv3d_gd": module(lambda: nn.Conv3d(4, 8, 3, padding=1, dilation=2, groups=2), 2, 4, 8, 10, 12),
    "convt1d": module(lambda: nn.ConvTranspose1d(8, 16, 4, stride=2, padding=1), 2, 8, 20),
    "convt2d": module(lambda: nn.ConvTranspose2d(8, 16, 3, stride=2, padding=1, output_padding=1), 2, 8, 10, 12),
    "convt2d_g4": module(lambda: nn.ConvTranspose2d(8, 16, 3, 2, 1, groups=4, bias=False), 2, 8, 10, 12),
    "convt2d_dw": module(lambda: nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8), 2, 8, 10, 12),
    "convt2d_sq": module(lambda: nn.ConvTranspose2d(8, 8, 3), 2, 8, 10, 12),
    "conv2d_sq_up": module(lambda: nn.ConvTranspose2d(8, 4, 3, groups=2), 2, 8, 10, 12),
    "fconv2d": lambda: (Weighted(lambda x, w: F.conv2d(x, w, padding=1), (12, 8, 3, 3)), (R(*GRID),)),
}
PRODUCTS: dict[str, Maker] = {
    "linear_1d": module(lambda: nn.Linear(16, 8), 16),
    "linear_2d": module(lambda: nn.Linear(16, 32), 3, 16),
    "linear_3d": module(lambda: nn.Linear(16, 32), 2, 7, 16),
    "linear_nobias": module(lambda: nn.Linear(16, 32, bias=False), 2, 7, 16),
    "bilinear": lambda: (Wrapped(nn.Bilinear(5, 6, 7)), (R(3, 5), R(3, 6))),
    "flinear": lambda: (Weighted(lambda x, w: F.linear(x, w), (32, 16)), (R(2, 7, 16),)),
    "matmul_2d": call(lambda a, b: torch.matmul(a, b), (4, 8), (8, 5)),
    "matmul_4d": call(lambda a, b: torch.matmul(a, b), (2, 3, 4, 8), (2, 3, 8, 5)),
    "matmul_bcast": call(lambda a, b: torch.matmul(a, b), (4, 8), (6, 8, 5)),
    "matmul_mv": call(lambda a, b: torch.matmul(a, b), (4, 8), (8,)),
    "matmul_dot": call(lambda a, b: torch.matmul(a, b), (8,), (8,)),
    "at_op": call(lambda a, b: a @ b, (2, 4, 8), (2, 8, 5)),
    "t_matmul": call(lambda a, b: a.matmul(b), (2, 4, 8), (2, 8, 5)),
    "t_mm": call(lambda a, b: a.mm(b), (4, 8), (8, 5)),
    "bmm": call(lambda a, b: torch.bmm(a, b), (2, 4, 8), (2, 8, 5)),
    "addmm": call(lambda c, a, b: torch.addmm(c, a, b), (5,), (4, 8), (8, 5)),
    "t_addmm": call(lambda c, a, b: c.addmm(a, b), (4, 5), (4, 8), (8, 5)),
    "baddbmm": call(lambda c, a, b: torch.baddbmm(c, a, b), (2, 4, 5), (2, 4, 8), (2, 8, 5)),
    "einsum_qk": call(lambda a, b: torch.einsum("bhqd,bhkd->bhqk", a, b), (2, 3, 6, 8), (2, 3, 5, 8)),
    "einsum_big": call(lambda a, b: torch.einsum("bhqd,bhkd->bhqk", a, b), (2, 12, 197, 64), (2, 12, 197, 64)),
    "einsum_nct": call(lambda a, b: torch.einsum("nct,ncp->ntp", a, b), (2, 3, 4), (2, 3, 5)),
    "einsum_outer": call(lambda a, b: torch.einsum("i,j->ij", a, b), (6,), (7,)),
    "einsum_3op": call(lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c), (4, 5), (5, 6), (6, 7)),
}
NORMS: dict[str, Maker] = {
    "bn1d": module(lambda: nn.BatchNorm1d(16), 4, 16),
    "bn1d_3d": module(lambda: nn.BatchNorm1d(16), 2, 16, 9),
    "bn2d": module(lambda: nn.BatchNorm2d(16), *IMAGE),
    "bn2d_noaff": module(lambda: nn.BatchNorm2d(16, affine=False), *IMAGE),
    "bn2d_notrack": module(lambda: nn.BatchNorm2d(16, track_running_stats=False), *IMAGE),
    "in1d": module(lambda: nn.InstanceNorm1d(16, affine=True), 2, 16, 9),
    "in2d": module(lambda: nn.InstanceNorm2d(16), *IMAGE),
    "in2d_aff": module(lambda: nn.InstanceNorm2d(16, affine=True), *IMAGE),
    "gn": module(lambda: nn.GroupNorm(4, 16), *IMAGE),
    "gn_noaff": module(lambda: nn.GroupNorm(4, 16, affine=False), *IMAGE),
    "ln": module(lambda: nn.LayerNorm(64), 2, 7, 64),
    "ln_noaff": module(lambda: nn.LayerNorm(64, elementwise_affine=False), 2, 7, 64),
    "ln_2d": module(lambda: nn.LayerNorm([5, 7]), *IMAGE),
    "rmsnorm": module(lambda: nn.RMSNorm(64), 2, 7, 64),
}
_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "leakyrelu": nn.LeakyReLU, "prelu": nn.PReLU, "elu": nn.ELU}
_ACTIVATIONS |= {"gelu": nn.GELU, "silu": nn.SiLU, "hardswish": nn.Hardswish, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
ACTIVATIONS: dict[str, Maker] = {
    **{name: module(kind, *IMAGE) for name, kind in _ACTIVATIONS.items()},
    "prelu_c": module(lambda: nn.PReLU(16), *IMAGE),
    "softmax": module(lambda: nn.Softmax(dim=1), *IMAGE),
    "f_relu": call(lambda x: F.relu(x), IMAGE),
    "t_relu": call(lambda x: x.relu(), IMAGE),
    "f_leaky": call(lambda x: F.leaky_relu(x), IMAGE),
    "f_gelu": call(lambda x: F.gelu(x), IMAGE),
    "f_softmax": call(lambda x: F.softmax(x, -1), IMAGE),
    "t_softmax": call(lambda x: x.softmax(-1), IMAGE),
    "f_sigmoid": call(lambda x: torch.sigmoid(x), IMAGE),
}
RESAMPLING: dict[str, Maker] = {
    "maxpool": module(lambda: nn.MaxPool2d(3, 2, 1), 2, 16, 9, 11),
    "avgpool": module(lambda: nn.AvgPool2d(3, 2), 2, 16, 9, 11),
    "maxpool1d": module(lambda: nn.MaxPool1d(3, 2), 2, 16, 21),
    "avgpool3d": module(lambda: nn.AvgPool3d(2), 2, 4, 6, 6, 6),
    "aap_3": module(lambda: nn.AdaptiveAvgPool2d(3), 2, 16, 10, 11),
    "aap_1": module(lambda: nn.AdaptiveAvgPool2d(1), 2, 16, 7, 7),
    "aap1d": module(lambda: nn.AdaptiveAvgPool1d(4), 2, 16, 21),
    "amp_2": module(lambda: nn.AdaptiveMaxPool2d(2), 2, 16, 7, 7),
    "f_aap": call(lambda x: F.adaptive_avg_pool2d(x, (1, 1)), (2, 16, 7, 7)),
    "mean": call(lambda x: x.mean([2, 3]), (2, 16, 7, 7)),
    "f_maxpool": call(lambda x: F.max_pool2d(x, 2), (2, 16, 8, 8)),
    "f_avgpool": call(lambda x: F.avg_pool2d(x, 2), (2, 16, 8, 8)),
    "up_bilinear": module(lambda: nn.Upsample(scale_factor=2, mode="bilinear"), *IMAGE),
    "up_bilinear_size": module(lambda: nn.Upsample(size=(9, 13), mode="bilinear"), *IMAGE),
    "up_nearest": module(lambda: nn.Upsample(scale_factor=2), *IMAGE),
    "up_bicubic": module(lambda: nn.Upsample(scale_factor=2, mode="bicubic"), *IMAGE),
    "up_trilinear": module(lambda: nn.Upsample(scale_factor=2, mode="trilinear"), 2, 4, 3, 4, 5),
    "up_linear": module(lambda: nn.Upsample(scale_factor=2, mode="linear"), 2, 4, 9),
    "f_interp": call(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), IMAGE),
    "f_interp_size": call(lambda x: F.interpolate(x, size=(9, 13), mode="bilinear"), IMAGE),
    "f_interp_tuple": call(lambda x: F.interpolate(x, scale_factor=(2.0, 3.0), mode="nearest"), IMAGE),
    "f_interp_frac": call(lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"), IMAGE),
    "f_upsample": call(lambda x: F.upsample(x, scale_factor=2), IMAGE),
    "grid_sample": call(lambda x, g: F.grid_sample(x, g, align_corners=False), (2, 4, 5, 7), (2, 6, 8, 2)),
    "pixelshuffle": module(lambda: nn.PixelShuffle(2), *IMAGE),
    "zeropad": module(lambda: nn.ZeroPad2d(1), *IMAGE),
}
ELEMENTWISE: dict[str, Maker] = {
    "add_op": call(lambda a, b: a + b, IMAGE, IMAGE),
    "mul_op": call(lambda a, b: a * b, IMAGE, (2, 16, 1, 1)),
    "torch_add": call(lambda a, b: torch.add(a, b), IMAGE, IMAGE),
    "torch_mul": call(lambda a, b: torch.mul(a, b), (2, 3, 4), (4,)),
    "t_mul": call(lambda a, b: a.mul(b), IMAGE, (2, 16, 1, 1)),
    "t_add_scalar": call(lambda a: a.add(1.0), IMAGE),
    "imul": call(lambda a, b: a.clone().mul_(b), (2, 16), (2, 16)),
    "rmul": call(lambda a: 3.0 * a, (2, 16)),
    "sub_op": call(lambda a, b: a - b, (2, 16), (2, 16)),
    "div_op": call(lambda a: a / 2, (2, 16)),
    "cat": call(lambda a, b: torch.cat([a, b], 1), (2, 16), (2, 16)),
    "dropout": module(lambda: nn.Dropout(0.5), *IMAGE),
    "embedding": lambda: (Wrapped(nn.Embedding(100, 16)), (torch.randint(0, 100, (2, 7)),)),
    "embbag": lambda: (Wrapped(nn.EmbeddingBag(100, 16)), (torch.randint(0, 100, (2, 7)),)),
    "identity": module(lambda: nn.Identity(), 2, 16),
}
_SEQUENCE = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear)
_OPTIONS = ((3, 8, 3, 1, 0, 1, 1, False), (8,), (True,), (1,), (), (8, 4))
STRUCTURE: dict[str, Maker] = {
    "shared_same": lambda: (SharedSame(), (R(2, 16),)),
    "shared_across": lambda: (SharedAcross(), (R(2, 16),)),
    "uncalled": lambda: (Uncalled(), (R(2, 16),)),
    "relu_reuse": lambda: (ReusedRelu(), (R(2, 3, 16, 16),)),
    "seq_convbnrelu": lambda: (
        nn.Sequential(*(kind(*options) for kind, options in zip(_SEQUENCE, _OPTIONS, strict=True))),
        (R(2, 3, 16, 16),),
    ),
    "root_conv": lambda: (nn.Conv2d(3, 8, 3), (R(2, 3, 16, 16),)),
    "root_linear": lambda: (nn.Linear(16, 8), (R(2, 16),)),
    "root_relu": lambda: (nn.ReLU(), (R(2, 16),)),
}
SMALL: dict[str, Maker] = {
    **RECURRENT,
    **ATTENTION,
    **CONVOLUTIONS,
    **PRODUCTS,
    **NORMS,
    **ACTIVATIONS,
    **RESAMPLING,
    **ELEMENTWISE,
    **STRUCTURE,
}
CASES: dict[str, Maker] = {**NETWORKS, **SMALL}


def build(name: str) -> Case:
    """A case's model, in eval mode, and its inputs; always the same weights."""
    torch.manual_seed(0)
    model, inputs = CASES[name]()
    return model.eval(), inputs
