"""Expressions of which programs are drawn: one to a line, `\n` where it goes on.

`X` and `Y` stand for variables that hold tensors, `D` for a dimension of X, `V` for the new variable, `SIZE` for a
linear layer that takes X. What does not fit the variables that there are is tried, and dropped.
"""

from __future__ import annotations


def lines(text: str) -> tuple[str, ...]:
    """The lines of a text, in which `\\n` stands for a line's end."""
    return tuple(line.replace("\\n", "\n") for line in text.strip().splitlines())


FUNCTIONS = lines(
    r"""
F.relu(X)
F.gelu(X, approximate='tanh')
F.softmax(X, D)
F.normalize(X, dim=D)
X.abs().sqrt()
torch.exp(-X)
X.clamp(-1, 1)
X.clamp_min(0.5)
X ** 2
X ** 3.0
2 ** X
X / 3
3 / (X + 10)
1 - X
X % 2
X // 2
-X
X.sum(D)
X.sum()
X.mean(D, keepdim=True)
X.var(D)
X.std(D, keepdim=True)
torch.var_mean(X, D)[0]
X.amax(D)
X.max(D)[0]
X.max(D).indices
X.argmax(D)
X.cumsum(D)
X.cumprod(D)
X.logsumexp(D)
X.norm(dim=D)
X.prod(D)
torch.sort(X, D)[0]
X.topk(1, D)[0]
X.flip(D)
X.roll(1, D)
X.repeat_interleave(2, D)
torch.cat([X, X], D)
torch.stack([X, X], D)
F.pad(X, (1, 1))
F.pad(X, (1, 0), value=2.0)
X.double()
X.to(torch.bfloat16)
X.half().float()
X.float()
X > 0
X.isnan()
(X > 0).float()
torch.where(X > 0, X, 0.0)
torch.where(X > 0, X, X * 2)
X.masked_fill(X > 0, 1.0)
X.tril()
X.triu(1)
X.round()
X.sign()
torch.zeros_like(X)
torch.ones_like(X, dtype=torch.float64)
X.new_zeros(X.shape)
X.new_full((2, 2), 3.0)
torch.full_like(X, 2)
X + torch.arange(X.shape[D], dtype=X.dtype).sum()
X + positions(X.shape[-1])
X * torch.tensor(2.0)
X + torch.tensor([1.0])
X * torch.linspace(0, 1, X.shape[-1])
torch.atan2(X, X + 1)
torch.lerp(X, X * 2, 0.3)
torch.addcmul(X, X, X, value=0.5)
F.layer_norm(X, X.shape[-1:])
F.silu(X) * X
torch.nan_to_num(X)
X.square()
torch.hypot(X, X)
F.mse_loss(X, X * 2)
F.smooth_l1_loss(X, X * 2, reduction='none')
F.l1_loss(X, X + 1)
torch.logaddexp(X, X)
X.erf()
torch.special.expit(X)
F.interpolate(X, scale_factor=2)
F.avg_pool2d(X, 2)
F.max_pool2d(X, 2)
F.unfold(X, 2)
F.local_response_norm(X, 2)
F.pixel_shuffle(X, 2)
torch.fft.fft(X.float()).real
torch.fft.rfft(X.float()).abs()
torch.complex(X.float(), X.float()).abs()
torch.view_as_complex(torch.stack([X, X], -1).float()).angle()
X.softmax(D, dtype=torch.float64)
torch.bucketize(X, torch.arange(3.0))
X.quantile(0.5)
X.median(D).values
X.diff(dim=D)
torch.cdist(X, X)
F.cosine_similarity(X, X, dim=D)
X.addcdiv(X, X.abs() + 1)
F.threshold(X, 0.1, 20)
F.hardtanh(X)
F.rrelu(X)
F.logsigmoid(X)
X.logit(0.1)
"""
)
"""Of floating-point tensors."""

VIEWS = lines(
    r"""
X.transpose(D, -1)
X.movedim(0, -1)
X.flatten(1)
X.flatten()
X.reshape(-1)
X.reshape(X.shape[0], -1)
X.view(X.shape[0], -1)
X.view(-1)
X.unsqueeze(D)
X.squeeze()
X.squeeze(D)
X.permute(*range(X.dim())[::-1])
X.narrow(D, 0, 1)
X.select(D, 0)
X[..., 0]
X[..., ::2]
X[..., 1:]
X[:, -1:]
X[0]
X[None]
X[..., None]
X.chunk(2, D)[0]
X.chunk(2, D)[-1]
X.split(1, D)[0]
X.unbind(D)[0]
X.expand(2, *X.shape)
X[..., :1].expand_as(X)
X.diagonal(dim1=0, dim2=-1)
X.mT
X.T
X.unfold(-1, 2, 1)
X.contiguous()
X.clone()
X.detach()
X.data
X.contiguous(memory_format=torch.channels_last)
X.to(memory_format=torch.channels_last)
X.clone(memory_format=torch.contiguous_format)
torch.empty_like(X).copy_(X)
X.view_as(X)
X.swapaxes(0, -1)
X.ravel()
X.tile(2)
X.repeat(2, *[1] * (X.dim() - 1))
X.permute(0, 2, 3, 1)
X.permute(0, 3, 1, 2)
X.as_strided((2, 2), (1, 2))
X.unflatten(-1, (1, -1))
X.type_as(X)
X.to(X.device)
X.cpu()
X.to('cpu')
torch.atleast_3d(X)
torch.broadcast_to(X, (2, *X.shape))
X.view(torch.int32)
X.real
X[[0, -1]]
X[torch.tensor([0])]
X[:, [0]]
X[X.shape[0] // 2]
X[..., torch.arange(X.shape[-1])]
X[X[..., 0].argmax() * 0]
X.index_select(D, torch.tensor([0, 0]))
torch.take_along_dim(X, X.argmax(D, keepdim=True), D)
X.gather(-1, torch.zeros_like(X, dtype=torch.long))
X.index_fill(D, torch.tensor([0]), 1.0)
X.flatten(0, 1).unflatten(0, X.shape[:2])
torch.Tensor.relu(X)
X.sum_to_size(*X[:1].shape)
"""
)
"""Of any tensor: views of it, copies of it, parts of it."""

INTEGERS = lines(
    r"""
X + 1
X * 2
X.float()
X.sum(D)
F.one_hot(X.clamp(0, 3), 4)
X.remainder(3)
X.bool()
~X.bool()
X.to(torch.uint8)
X.cumsum(D)
X.flip(D)
X // 2
X / 2
torch.arange(X.shape[0])
torch.arange(4)[X.clamp(0, 3)]
F.embedding(X.clamp(0, 3), torch.ones(4, 3))
X.max()
X.numel() + X
"""
)
"""Of integers and booleans."""

BINARY = lines(
    r"""
X + Y
X * Y
X - 2 * Y
X / (Y.abs() + 1)
torch.maximum(X, Y)
X @ Y
X @ Y.mT
X.matmul(Y.transpose(-1, -2))
torch.cat([X, Y], 0)
torch.cat([X, Y], 1)
torch.cat([X, Y], -1)
torch.stack([X, Y])
torch.where(X > Y, X, Y)
torch.einsum('i...,j...->ij', X, Y)
torch.einsum('...ij,...kj->...ik', X, Y)
F.linear(X, Y)
F.mse_loss(X, Y)
torch.bmm(X, Y.mT)
torch.outer(X.flatten(), Y.flatten()[:3])
F.scaled_dot_product_attention(X, Y, Y)
F.cosine_similarity(X, Y)
X.expand_as(Y) + Y
torch.addmm(X, Y, Y.T)
torch.tensordot(X, Y, 1)
torch.kron(X, Y)
F.bilinear(X, Y, torch.ones(2, X.shape[-1], Y.shape[-1]))
X.add(Y, alpha=2)
X.view_as(Y)
X.to(Y)
torch.broadcast_tensors(X, Y)[0]
torch.logical_and(X, Y)
X.bmm(Y)
torch.mv(X, Y)
torch.dot(X, Y)
torch.chain_matmul(X, Y)
torch.baddbmm(X, X, Y)
torch.meshgrid(X, Y, indexing='ij')[0]
torch.hstack([X, Y])
torch.block_diag(X, Y)
torch.cartesian_prod(X.flatten()[:3], Y.flatten()[:2])
F.conv2d(X, Y)
torch.cross(X, Y, dim=-1)
torch.isclose(X, Y)
X.masked_scatter(Y > 0, X)
F.grid_sample(X, Y[..., :2], align_corners=False)
F.binary_cross_entropy_with_logits(X, Y.sigmoid())
F.kl_div(X.log_softmax(-1), Y.softmax(-1), reduction='batchmean')
torch.nextafter(X, Y)
X.index_add(0, torch.zeros(Y.shape[0], dtype=torch.long), Y)
"""
)
"""Of two floating-point tensors."""

CONSTANT = lines(
    r"""
torch.arange(4.0)
torch.zeros(2, 3)
torch.ones(3)
torch.eye(3)
torch.tensor([[1.0, 2.0]])
torch.linspace(0, 1, 5)
torch.full((2, 2), 0.5)
torch.randn(2, 3)
torch.rand(4)
torch.arange(3)
torch.tensor([0, 1, 1])
torch.tril(torch.ones(3, 3))
torch.empty(2, 2).fill_(1)
torch.hann_window(4)
torch.randperm(4)
torch.tensor(3.0)
torch.scalar_tensor(2.0)
torch.logspace(0, 1, 3)
torch.zeros(0)
torch.as_tensor([1.0])
torch.triu_indices(3, 3)
torch.cat([])
torch.normal(0.0, 1.0, (2,))
"""
)
"""Made of nothing but numbers."""
