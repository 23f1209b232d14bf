"""What a drawn program is made of: a template gives a line of Python for variables that it picks.

Each returns the variable that it assigns to ("" for none) and the line. What does not fit is tried and dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

SHAPES = ((2, 4, 6, 6), (2, 4, 5, 7), (1, 4, 6, 6), (2, 1, 6, 6), (2, 4, 1, 1), (3, 8), (2, 5, 8), (4, 6), (1, 8), (2, 3, 4, 5, 6))

Template = Callable[[Any], tuple[str, str]]


def _floats(t: Any) -> bool:
    return bool(t.is_floating_point())


def _dims(*dims: int) -> Callable[[Any], bool]:
    return lambda t: t.dim() in dims and t.is_floating_point()


def _layer(dims: tuple[int, ...], make: Callable[[Any, Any], str]) -> Template:
    def template(pick: Any) -> tuple[str, str]:
        x = pick.tensor(_dims(*dims))
        dtype = pick.value(x).dtype
        made = make(pick, pick.value(x))
        if dtype is not torch.float32:
            made += f".to({dtype})"
        layer = pick.module(made)
        return pick.new(), f"{layer}({x})"

    return template


LAYERS: tuple[Template, ...] = (
    _layer((4,), lambda p, x: f"nn.Conv2d({x.shape[1]}, {p.choice([1, 4, 8])}, {p.choice([1, 3, (1, 3)])}, padding={p.choice([0, 1])}, stride={p.choice([1, 2])}, bias={p.choice([True, False])})"),
    _layer((4,), lambda p, x: f"nn.Conv2d({x.shape[1]}, {2 * x.shape[1]}, 3, padding=1, groups={x.shape[1]})"),
    _layer((4,), lambda p, x: f"nn.Conv2d({x.shape[1]}, 4, 3, padding={p.choice([1, 2, repr('same')])}, dilation=2, padding_mode={p.choice(['zeros', 'reflect', 'circular', 'replicate'])!r})"),
    _layer((4,), lambda p, x: f"nn.ConvTranspose2d({x.shape[1]}, 4, {p.choice([2, 3])}, stride={p.choice([1, 2])}, output_padding=0)"),
    _layer((3,), lambda p, x: f"nn.Conv1d({x.shape[1]}, 4, 3, padding={p.choice([1, repr('same')])})"),
    _layer((5,), lambda p, x: f"nn.Conv3d({x.shape[1]}, 4, 3, padding=1)"),
    _layer((4,), lambda p, x: f"nn.BatchNorm2d({x.shape[1]}, affine={p.choice([True, False])}, track_running_stats={p.choice([True, False])})"),
    _layer((4,), lambda p, x: f"nn.InstanceNorm2d({x.shape[1]}, affine={p.choice([True, False])})"),
    _layer((3, 4), lambda p, x: f"nn.GroupNorm({p.choice([1, x.shape[1]])}, {x.shape[1]})"),
    _layer((2, 3, 4), lambda p, x: f"nn.LayerNorm({x.shape[-1]})"),
    _layer((2, 3, 4), lambda p, x: f"nn.RMSNorm({x.shape[-1]})"),
    _layer((2, 3, 4), lambda p, x: f"nn.Linear({x.shape[-1]}, {p.choice([1, 4, 8])}, bias={p.choice([True, False])})"),
    _layer((4,), lambda p, x: f"nn.MaxPool2d({p.choice([2, 3])}, {p.choice([1, 2])}, {p.choice([0, 1])}, ceil_mode={p.choice([True, False])})"),
    _layer((4,), lambda p, x: f"nn.AvgPool2d({p.choice([2, 3])}, {p.choice([1, 2])}, {p.choice([0, 1])})"),
    _layer((4,), lambda p, x: f"nn.AdaptiveAvgPool2d({p.choice([1, 2, (2, 1), (None, 2)])})"),
    _layer((4,), lambda p, x: f"nn.AdaptiveMaxPool2d({p.choice([1, 2])})"),
    _layer((4,), lambda p, x: f"nn.Upsample(scale_factor={p.choice([2, 1.5])}, mode={p.choice(['nearest', 'bilinear', 'bicubic', 'nearest-exact'])!r})"),
    _layer((4,), lambda p, x: f"nn.{p.choice(['ReflectionPad2d', 'ReplicationPad2d', 'ZeroPad2d', 'CircularPad2d'])}(1)"),
    _layer((4,), lambda p, x: "nn.PixelShuffle(2)"),
    _layer((4,), lambda p, x: "nn.PixelUnshuffle(2)"),
    _layer((4,), lambda p, x: "nn.ChannelShuffle(2)"),
    _layer((4,), lambda p, x: "nn.Unfold(2)"),
    _layer((4,), lambda p, x: f"nn.PReLU({p.choice([1, x.shape[1]])})"),
    _layer((4,), lambda p, x: "nn.LocalResponseNorm(2)"),
    _layer((2, 3, 4), lambda p, x: f"nn.{p.choice(['ReLU', 'SiLU', 'Hardswish', 'LeakyReLU', 'ELU', 'Mish', 'SELU', 'CELU'])}(inplace={p.choice([True, False])})"),
    _layer((2, 3, 4), lambda p, x: f"nn.{p.choice(['GELU', 'Sigmoid', 'Tanh', 'Softplus', 'Softsign', 'LogSigmoid', 'Hardsigmoid', 'Tanhshrink', 'GLU'])}()"),
    _layer((2, 3, 4), lambda p, x: f"nn.{p.choice(['Softmax', 'LogSoftmax', 'Softmin'])}({p.choice([0, 1, -1])})"),
    _layer((2, 3, 4), lambda p, x: f"nn.{p.choice(['Dropout', 'AlphaDropout'])}(0.0)"),
    _layer((2, 3, 4), lambda p, x: "nn.Flatten()"),
    _layer((3,), lambda p, x: f"nn.MultiheadAttention({x.shape[-1]}, 1, batch_first=True)"),
    _layer((2, 3, 4), lambda p, x: f"nn.Sequential(nn.Linear({x.shape[-1]}, 4), nn.ReLU(), nn.Linear(4, {x.shape[-1]}))"),
)


def _unary(*codes: str, fits: Callable[[Any], bool] = _floats) -> Template:
    """`X` stands for the variable, `D` for a dimension of it."""

    def template(pick: Any) -> tuple[str, str]:
        x = pick.tensor(fits)
        code = pick.choice(codes)
        if "D" in code:
            code = code.replace("D", str(pick.dim(x)))
        return pick.new(), code.replace("X", x)

    return template


def _any(_: Any) -> bool:
    return True


FUNCTIONS = _unary(
    "F.relu(X)", "F.gelu(X, approximate='tanh')", "F.softmax(X, D)", "F.normalize(X, dim=D)", "X.abs().sqrt()", "torch.exp(-X)",
    "X.clamp(-1, 1)", "X.clamp_min(0.5)", "X ** 2", "X ** 3.0", "2 ** X", "X / 3", "3 / (X + 10)", "1 - X", "X % 2", "X // 2", "-X",
    "X.sum(D)", "X.sum()", "X.mean(D, keepdim=True)", "X.var(D)", "X.std(D, keepdim=True)", "torch.var_mean(X, D)[0]", "X.amax(D)",
    "X.max(D)[0]", "X.max(D).indices", "X.argmax(D)", "X.cumsum(D)", "X.cumprod(D)", "X.logsumexp(D)", "X.norm(dim=D)", "X.prod(D)",
    "torch.sort(X, D)[0]", "X.topk(1, D)[0]", "X.flip(D)", "X.roll(1, D)", "X.repeat_interleave(2, D)", "torch.cat([X, X], D)",
    "torch.stack([X, X], D)", "F.pad(X, (1, 1))", "F.pad(X, (1, 0), value=2.0)", "X.double()", "X.to(torch.bfloat16)", "X.half().float()", "X.float()",
    "X > 0", "X.isnan()", "(X > 0).float()", "torch.where(X > 0, X, 0.0)", "torch.where(X > 0, X, X * 2)", "X.masked_fill(X > 0, 1.0)",
    "X.tril()", "X.triu(1)", "X.round()", "X.sign()", "torch.zeros_like(X)", "torch.ones_like(X, dtype=torch.float64)", "X.new_zeros(X.shape)",
    "X.new_full((2, 2), 3.0)", "torch.full_like(X, 2)", "X + torch.arange(X.shape[D], dtype=X.dtype).sum()", "X + positions(X.shape[-1])",
    "X * torch.tensor(2.0)", "X + torch.tensor([1.0])", "X * torch.linspace(0, 1, X.shape[-1])", "torch.atan2(X, X + 1)", "torch.lerp(X, X * 2, 0.3)",
    "torch.addcmul(X, X, X, value=0.5)", "F.layer_norm(X, X.shape[-1:])", "F.silu(X) * X", "torch.nan_to_num(X)", "X.square()", "torch.hypot(X, X)",
    "F.mse_loss(X, X * 2)", "F.smooth_l1_loss(X, X * 2, reduction='none')", "F.l1_loss(X, X + 1)", "torch.logaddexp(X, X)", "X.erf()", "torch.special.expit(X)",
    "F.interpolate(X, scale_factor=2)", "F.avg_pool2d(X, 2)", "F.max_pool2d(X, 2)", "F.unfold(X, 2)", "F.local_response_norm(X, 2)", "F.pixel_shuffle(X, 2)",
    "torch.fft.fft(X.float()).real", "torch.fft.rfft(X.float()).abs()", "torch.complex(X.float(), X.float()).abs()", "torch.view_as_complex(torch.stack([X, X], -1).float()).angle()",
    "X.softmax(D, dtype=torch.float64)", "torch.bucketize(X, torch.arange(3.0))", "X.quantile(0.5)", "X.median(D).values", "X.diff(dim=D)", "torch.cdist(X, X)",
    "F.cosine_similarity(X, X, dim=D)", "X.addcdiv(X, X.abs() + 1)", "F.threshold(X, 0.1, 20)", "F.hardtanh(X)", "F.rrelu(X)", "F.logsigmoid(X)", "X.logit(0.1)",
)  # fmt: skip
VIEWS = _unary(
    "X.transpose(D, -1)", "X.movedim(0, -1)", "X.flatten(1)", "X.flatten()", "X.reshape(-1)", "X.reshape(X.shape[0], -1)", "X.view(X.shape[0], -1)",
    "X.view(-1)", "X.unsqueeze(D)", "X.squeeze()", "X.squeeze(D)", "X.permute(*range(X.dim())[::-1])", "X.narrow(D, 0, 1)", "X.select(D, 0)",
    "X[..., 0]", "X[..., ::2]", "X[..., 1:]", "X[:, -1:]", "X[0]", "X[None]", "X[..., None]", "X.chunk(2, D)[0]", "X.chunk(2, D)[-1]", "X.split(1, D)[0]",
    "X.unbind(D)[0]", "X.expand(2, *X.shape)", "X[..., :1].expand_as(X)", "X.diagonal(dim1=0, dim2=-1)", "X.mT", "X.T", "X.unfold(-1, 2, 1)", "X.contiguous()",
    "X.clone()", "X.detach()", "X.data", "X.contiguous(memory_format=torch.channels_last)", "X.to(memory_format=torch.channels_last)",
    "X.clone(memory_format=torch.contiguous_format)", "torch.empty_like(X).copy_(X)", "X.view_as(X)", "X.swapaxes(0, -1)", "X.ravel()", "X.tile(2)", "X.repeat(2, *[1] * (X.dim() - 1))",
    "X.permute(0, 2, 3, 1)", "X.permute(0, 3, 1, 2)", "X.as_strided((2, 2), (1, 2))", "X.unflatten(-1, (1, -1))", "X.type_as(X)", "X.to(X.device)", "X.cpu()", "X.to('cpu')",
    "torch.atleast_3d(X)", "torch.broadcast_to(X, (2, *X.shape))", "X.view(torch.int32)", "X.real", "X[[0, -1]]", "X[torch.tensor([0])]", "X[:, [0]]", "X[X.shape[0] // 2]",
    "X[..., torch.arange(X.shape[-1])]", "X[X[..., 0].argmax() * 0]", "X.index_select(D, torch.tensor([0, 0]))", "torch.take_along_dim(X, X.argmax(D, keepdim=True), D)",
    "X.gather(-1, torch.zeros_like(X, dtype=torch.long))", "X.index_fill(D, torch.tensor([0]), 1.0)", "X.flatten(0, 1).unflatten(0, X.shape[:2])", "torch.Tensor.relu(X)", "X.sum_to_size(*X[:1].shape)",
    fits=_any,
)  # fmt: skip
INTEGERS = _unary(
    "X + 1", "X * 2", "X.float()", "X.sum(D)", "F.one_hot(X.clamp(0, 3), 4)", "X.remainder(3)", "X.bool()", "~X.bool()", "X.to(torch.uint8)", "X.cumsum(D)", "X.flip(D)", "X // 2", "X / 2",
    "torch.arange(X.shape[0])", "torch.arange(4)[X.clamp(0, 3)]", "F.embedding(X.clamp(0, 3), torch.ones(4, 3))", "X.max()", "X.unique()", "X.nonzero()", "X.bincount()", "X.numel() + X",
    fits=lambda t: not t.is_floating_point() and not t.is_complex(),
)  # fmt: skip


def _binary(pick: Any) -> tuple[str, str]:
    x = pick.tensor(_floats)
    y = pick.tensor(_floats)
    code = pick.choice(
        [
            "X + Y", "X * Y", "X - 2 * Y", "X / (Y.abs() + 1)", "torch.maximum(X, Y)", "X @ Y", "X @ Y.mT", "X.matmul(Y.transpose(-1, -2))", "torch.cat([X, Y], 0)", "torch.cat([X, Y], 1)",
            "torch.cat([X, Y], -1)", "torch.stack([X, Y])", "torch.where(X > Y, X, Y)", "torch.einsum('i...,j...->ij', X, Y)", "torch.einsum('...ij,...kj->...ik', X, Y)",
            "F.linear(X, Y)", "F.mse_loss(X, Y)", "torch.bmm(X, Y.mT)", "torch.outer(X.flatten(), Y.flatten()[:3])", "F.scaled_dot_product_attention(X, Y, Y)", "F.cosine_similarity(X, Y)",
            "X.expand_as(Y) + Y", "torch.addmm(X, Y, Y.T)", "torch.tensordot(X, Y, 1)", "torch.kron(X, Y)", "F.bilinear(X, Y, torch.ones(2, X.shape[-1], Y.shape[-1]))", "X.add(Y, alpha=2)", "X.view_as(Y)",
            "X.to(Y)", "torch.broadcast_tensors(X, Y)[0]", "torch.logical_and(X, Y)", "X.bmm(Y)", "torch.mv(X, Y)", "torch.dot(X, Y)", "torch.chain_matmul(X, Y)", "torch.baddbmm(X, X, Y)", "torch.meshgrid(X, Y, indexing='ij')[0]",
            "torch.hstack([X, Y])", "torch.block_diag(X, Y)", "torch.cartesian_prod(X.flatten()[:3], Y.flatten()[:2])", "F.conv2d(X, Y)", "torch.cross(X, Y, dim=-1)", "torch.isclose(X, Y)", "X.masked_scatter(Y > 0, X)",
            "F.grid_sample(X, Y[..., :2], align_corners=False)", "F.binary_cross_entropy_with_logits(X, Y.sigmoid())", "F.kl_div(X.log_softmax(-1), Y.softmax(-1), reduction='batchmean')", "torch.nextafter(X, Y)", "X.index_add(0, torch.zeros(Y.shape[0], dtype=torch.long), Y)",
        ]
    )  # fmt: skip
    return pick.new(), code.replace("X", x).replace("Y", y)


def _in_place(pick: Any) -> tuple[str, str]:
    x = pick.tensor(_floats)
    y = pick.tensor(_floats)
    code = pick.choice(
        [
            "X.add_(1)", "X.mul_(2)", "X += 1", "X *= Y", "X += Y", "X -= Y.mean()", "X.relu_()", "X[...] = 0", "X[..., 0] = 2.5", "X[0] = Y[0]", "X[:, 0] += 1", "X.clamp_(0, 1)", "X.copy_(Y)", "X.zero_()",
            "X.fill_(3)", "X.masked_fill_(X > 0, 0.5)", "X[X > 0] = 0.1", "X.t_()", "X.squeeze_()", "X.unsqueeze_(0)", "X.transpose_(0, -1)", "X.index_add_(0, torch.tensor([0]), X[:1] * 2)", "X.scatter_(0, torch.zeros_like(X, dtype=torch.long), 1.0)",
            "X[..., :2] = X[..., -2:]", "torch.add(X, 1, out=torch.empty(0))", "X.data = X.data * 2", "X.data = Y", "F.relu(X, inplace=True)", "X[..., 0].mul_(3)", "X.view(-1).add_(1)", "X.lerp_(X * 2, 0.5)", "X.sub_(Y)", "X.exp_().log_()", "X[0, ...] = torch.arange(X[0].numel()).view(X[0].shape)", "X[:1] = 7", "X.swapaxes_(0, -1)", "X.resize_(4, 2)", "X.set_(Y)", "X.bernoulli_(0.5)", "X.normal_()", "X.put_(torch.tensor([0]), torch.tensor([1.0]))", "X.diagonal().fill_(1)", "X[torch.tensor([0])] = 1.0", "X.index_copy_(0, torch.tensor([0]), X[-1:])", "X.addmm_(X, X)", "X.sigmoid_()", "X.cumsum_(0)", "X.squeeze_().unsqueeze_(-1)",
        ]
    )  # fmt: skip
    return "", code.replace("X", x).replace("Y", y)


def _cached(pick: Any) -> tuple[str, str]:
    """Results that outlive the line: in the module, its class, a table of the file, a function's cache; counters."""
    x, name = pick.tensor(_floats), pick.new("c")
    code = pick.choice(
        [
            f"{x}.clone(); self.{name} = V", f"self.shared.setdefault('{name}', {x}.exp())", f"TABLE.setdefault('{name}', torch.ones(3).exp()).sum() + {x}", f"{x} * positions(5).sum()",
            f"{x} + len(TABLE); TABLE['{name}'] = 1", f"{x}.relu(); self.calls = getattr(self, 'calls', 0) + 1", f"{x} * 2; Model.last = V.shape if 'Model' in globals() else None", f"getattr(self, '{name}', None) if hasattr(self, '{name}') else {x}.tanh()",
        ]
    )  # fmt: skip
    target = pick.new()
    return target, code.replace("V", target)


def _buffer(pick: Any) -> tuple[str, str]:
    x, name = pick.tensor(_floats), pick.new("b")
    size = pick.value(x).shape[-1] if pick.value(x).dim() else 1
    pick.setup.append(f"self.register_buffer('{name}', torch.ones({size}))")
    code = pick.choice([f"{x} + self.{name}", f"{x} * self.{name}.cumsum(0)", f"{x} * self.{name}.add_(1)", f"{x} + self.{name}.sum().item()", f"{x}[..., self.{name}.bool()]"])
    return pick.new(), code


def _parameter(pick: Any) -> tuple[str, str]:
    x, name = pick.tensor(_floats), pick.new("p")
    size = pick.value(x).shape[-1] if pick.value(x).dim() else 1
    pick.setup.append(f"self.{name} = nn.Parameter(torch.ones({size}))")
    code = pick.choice([f"{x} * self.{name}", f"F.linear({x}, self.{name}[None])", f"{x} @ self.{name}", f"{x} + self.{name}.detach()", f"{x} * F.softplus(self.{name})", f"{x} + self.{name}.data"])
    return pick.new(), code


def _constant(pick: Any) -> tuple[str, str]:
    """Tensors that are made of nothing but numbers."""
    return pick.new(), str(
        pick.choice(
            [
                "torch.arange(4.0)", "torch.zeros(2, 3)", "torch.ones(3)", "torch.eye(3)", "torch.tensor([[1.0, 2.0]])", "torch.linspace(0, 1, 5)", "torch.full((2, 2), 0.5)", "torch.randn(2, 3)", "torch.rand(4)", "torch.arange(3)",
                "torch.tensor([0, 1, 1])", "torch.tril(torch.ones(3, 3))", "torch.empty(2, 2).fill_(1)", "torch.hann_window(4)", "torch.randperm(4)", "torch.tensor(3.0)", "torch.scalar_tensor(2.0)", "torch.logspace(0, 1, 3)", "torch.zeros(0)", "torch.as_tensor([1.0])", "torch.from_numpy(torch.ones(2).numpy())", "torch.triu_indices(3, 3)", "torch.cat([])", "torch.normal(0.0, 1.0, (2,))",
            ]
        )
    )  # fmt: skip


TEMPLATES: tuple[Template, ...] = (
    *LAYERS, *[FUNCTIONS] * 16, *[VIEWS] * 14, *[_binary] * 7, *[_in_place] * 7, *[INTEGERS] * 5, _cached, _cached, _buffer, _buffer, _parameter, _parameter, _constant, _constant,
)  # fmt: skip


def _condition(code: str) -> Callable[[Any], str]:
    def template(pick: Any) -> str:
        return code.replace("X", pick.tensor()).replace("Y", pick.tensor())

    return template


CONDITIONS = tuple(
    map(
        _condition,
        [
            "X.shape[0] % 2 == 0", "X.shape[-1] > 4", "len(X) > 1", "X.dim() == 4", "X.size() == Y.size()", "X.numel() > 50", "X.dtype is torch.float32", "X.dtype == torch.bfloat16", "X.is_floating_point()", "X.device.type == 'cpu'",
            "X.is_cuda", "X.is_contiguous()", "X.is_contiguous(memory_format=torch.channels_last)", "X.stride(0) == X[0].numel()", "X.stride() == Y.stride()", "X.storage_offset() == 0", "X.data_ptr() == Y.data_ptr()", "X is Y", "X._is_view()",
            "self.training", "torch.is_grad_enabled()", "X.requires_grad", "X.is_leaf", "X.grad_fn is None", "torch.is_inference_mode_enabled()", "torch.is_autocast_enabled('cpu')", "isinstance(X, torch.Tensor)", "isinstance(X.shape, tuple)", "type(X) is torch.Tensor",
            "hasattr(X, 'shape')", "X.element_size() == 4", "X.untyped_storage().nbytes() > 100", "X.nbytes > 100", "X._version == 0", "X._base is None", "torch.is_tensor(X)", "callable(getattr(X, 'relu', None))", "'cpu' in str(X.device)", "X.layout is torch.strided",
            "X.shape[1:] == Y.shape[1:]", "torch.get_default_dtype() is torch.float32", "X.get_device() == -1", "math.prod(X.shape) > 20", "any(s == 1 for s in X.shape)", "X.is_complex()", "X.names[0] is None if X.dim() else True", "X.untyped_storage().data_ptr() == Y.untyped_storage().data_ptr()", "X.is_same_size(Y)",
            "next(self.parameters(), X).device == X.device", "X.is_pinned()", "X.itemsize == 4", "torch.numel(X) > 30", "torch.result_type(X, Y) is torch.float32", "torch.equal(X, X)", "X.ndim > 2", "torch.can_cast(X.dtype, Y.dtype)", "X.data_ptr() % 4 == 0", "X.is_set_to(Y)", "bool((X == X).all())", "X.sum() > -1e9", "float(X.abs().sum()) >= 0",
            "any(X.data_ptr() == p.data_ptr() for p in self.parameters())", "X.is_inference()", "torch._C._functorch.is_batchedtensor(X)", "X.retains_grad", "X.is_nonzero() or True if X.numel() == 1 else True", "X.storage().size() > 20", "torch.compiler.is_compiling()", "torch.jit.is_tracing()", "X.is_sparse", "X.is_quantized", "X.is_meta", "X.shape == torch.Size(list(X.shape))", "id(X) == id(Y)", "X.tolist() is not None", "X.detach().numpy().size > 0", "sum(1 for _ in X) > 1", "max(X.shape) > 4", "X.shape[0] in (1, 2)", "str(X.dtype).endswith('32')",
        ],
    )
)  # fmt: skip

REGIONS = (
    "with torch.no_grad():", "with torch.enable_grad():", "with torch.inference_mode():", "with torch.autocast('cpu', torch.bfloat16):", "with torch.autocast('cpu', enabled=False):", "with torch.set_grad_enabled(self.training):", "with contextlib.nullcontext():",
    "with torch.profiler.record_function('x'):", "with torch.autograd.set_detect_anomaly(False):", "with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):", "with torch.device('cpu'):", "with torch.autograd.graph.save_on_cpu():",
)  # fmt: skip


def _wrapper(code: str) -> Template:
    def template(pick: Any) -> tuple[str, str]:
        x, target = pick.tensor(_floats), pick.new()
        text = code.replace("X", x).replace("V", target)
        if "SIZE" in text:
            value = pick.value(x)
            layer = pick.module(f"nn.Linear({value.shape[-1] if value.dim() else 1}, 3, dtype={value.dtype})")
            text = text.replace("SIZE", layer)
        return target, text

    return template


WRAPPERS = tuple(
    map(
        _wrapper,
        [
            "V = torch.vmap(lambda t: t.sin() * 2)(X)", "V = torch.vmap(SIZE)(X)", "V = torch.func.grad(lambda t: (t ** 3).sum())(X)", "V = torch.func.jvp(torch.tanh, (X,), (X,))[1]", "V = torch.func.vjp(torch.sigmoid, X)[1](X)[0]",
            "V = torch.func.functional_call(SIZE, dict(SIZE.named_parameters()), (X,))", "V = checkpoint(lambda t: SIZE(t).relu(), X, use_reentrant=False)", "with torch.enable_grad():\n    V = X.detach().requires_grad_()\n    V = torch.autograd.grad((V ** 2).sum(), V)[0]",
            "try:\n    V = X.reshape(7, 11, 13)\nexcept RuntimeError:\n    V = X * 3", "try:\n    V = int(X.shape[0]) * X\nexcept Exception:\n    V = X.exp()", "V = [SIZE(r) for r in X][0]", "V = sum(r.sum() for r in X) + X", "V = max(list(X), key=lambda r: r.numel()) + 1", "V = functools.reduce(torch.add, X.unbind(0))",
            "V = twice(F.silu)(X)", "V = (lambda t, scale=2.0: t * scale)(X)", "V = dict(a=X.relu())['a']", "V = torch.stack(list(map(torch.tanh, X.unbind(-1))), -1)", "V = X.apply_(lambda v: v)", "V = X.numpy().shape[0] * X", "V = torch.tensor(X.shape).float().sum() + X", "V = X * X.shape[0] ** 0.5", "V = X / math.sqrt(X.size(-1))",
            "V = torch.func.jacrev(lambda t: t.sin())(X.flatten()[:3])", "V = torch.func.jacfwd(lambda t: t.sin())(X.flatten()[:3])", "V = SIZE(X)\nV = torch.nn.utils.parametrize.is_parametrized(SIZE) * V + V", "while X.shape[-1] > 3: X = X[..., 1:]\nV = X", "V = X\nwhile V.dim() < 5: V = V.unsqueeze(0)",
            "self.extra = X.mean()\nV = X - self.extra\ndel self.extra", "V = X.relu() if (lambda: X.dim())() else X", "V, _ = torch.min(X, -1)", "V, *_ = X.unbind(0)", "V = torch.jit.annotate(torch.Tensor, X).cos()", "V = torch.utils.checkpoint.checkpoint(torch.sin, X, use_reentrant=True)", "V = nn.Linear(X.shape[-1], 2)(X)", "V = nn.functional.dropout(X, 0.0, training=True)",
            "V = torch.utils._pytree.tree_map(torch.sin, [X])[0]", "V = X.register_hook(lambda g: g * 2) and X * 2 if X.requires_grad else X * 2", "V = torch.cond(torch.tensor(True), lambda t: t.sin(), lambda t: t.cos(), (X,))", "V = torch.Tensor.__add__(X, 1)", "V = torch.ops.aten.relu(X)", "V = torch.relu(input=X)", "V = X.new_tensor([1.0, 2.0]).sum() + X", "V = torch.nn.utils.rnn.pad_sequence(list(X))", "print(end='')\nV = X.exp()", "f'{X.shape}'\nV = X.log1p()", "assert X.shape[0] >= 0\nV = X.sin()",
        ],
    )
)  # fmt: skip
