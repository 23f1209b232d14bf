"""Statements, conditions and regions of which programs are drawn: one to a line, `\n` where it goes on.

`X` and `Y` stand for variables that hold tensors, `D` for a dimension of X, `V` for the new variable, `SIZE` for a
linear layer that takes X. What does not fit the variables that there are is tried, and dropped.
"""

from __future__ import annotations

from .expressions import lines

IN_PLACE = lines(
    r"""
X.add_(1)
X.mul_(2)
X += 1
X *= Y
X += Y
X -= Y.mean()
X.relu_()
X[...] = 0
X[..., 0] = 2.5
X[0] = Y[0]
X[:, 0] += 1
X.clamp_(0, 1)
X.copy_(Y)
X.zero_()
X.fill_(3)
X.masked_fill_(X > 0, 0.5)
X[X > 0] = 0.1
X.t_()
X.squeeze_()
X.unsqueeze_(0)
X.transpose_(0, -1)
X.index_add_(0, torch.tensor([0]), X[:1] * 2)
X.scatter_(0, torch.zeros_like(X, dtype=torch.long), 1.0)
X[..., :2] = X[..., -2:]
F.relu(X, inplace=True)
X[..., 0].mul_(3)
X.view(-1).add_(1)
X.lerp_(X * 2, 0.5)
X.sub_(Y)
X.exp_().log_()
X[0, ...] = torch.arange(X[0].numel()).view(X[0].shape)
X[:1] = 7
X.swapaxes_(0, -1)
X.bernoulli_(0.5)
X.normal_()
X.put_(torch.tensor([0]), torch.tensor([1.0]))
X.diagonal().fill_(1)
X[torch.tensor([0])] = 1.0
X.index_copy_(0, torch.tensor([0]), X[-1:])
X.addmm_(X, X)
X.sigmoid_()
X.cumsum_(0)
X.squeeze_().unsqueeze_(-1)
"""
)
"""Statements that write."""

CONDITIONS = lines(
    r"""
X.shape[0] % 2 == 0
X.shape[-1] > 4
len(X) > 1
X.dim() == 4
X.size() == Y.size()
X.numel() > 50
X.dtype is torch.float32
X.dtype == torch.bfloat16
X.is_floating_point()
X.device.type == 'cpu'
X.is_cuda
X.is_contiguous()
X.is_contiguous(memory_format=torch.channels_last)
X.stride(0) == X[0].numel()
X.stride() == Y.stride()
X.storage_offset() == 0
X.data_ptr() == Y.data_ptr()
X is Y
self.training
torch.is_grad_enabled()
X.requires_grad
X.is_leaf
X.grad_fn is None
torch.is_inference_mode_enabled()
torch.is_autocast_enabled('cpu')
isinstance(X, torch.Tensor)
isinstance(X.shape, tuple)
type(X) is torch.Tensor
hasattr(X, 'shape')
X.element_size() == 4
X.untyped_storage().nbytes() > 100
X.nbytes > 100
X._version == 0
torch.is_tensor(X)
callable(getattr(X, 'relu', None))
'cpu' in str(X.device)
X.layout is torch.strided
X.shape[1:] == Y.shape[1:]
torch.get_default_dtype() is torch.float32
X.get_device() == -1
math.prod(X.shape) > 20
any(s == 1 for s in X.shape)
X.is_complex()
X.names[0] is None if X.dim() else True
X.untyped_storage().data_ptr() == Y.untyped_storage().data_ptr()
X.is_same_size(Y)
next(self.parameters(), X).device == X.device
X.is_pinned()
X.itemsize == 4
torch.numel(X) > 30
torch.result_type(X, Y) is torch.float32
torch.equal(X, X)
X.ndim > 2
torch.can_cast(X.dtype, Y.dtype)
X.data_ptr() % 4 == 0
X.is_set_to(Y)
bool((X == X).all())
X.sum() > -1e9
float(X.abs().sum()) >= 0
any(X.data_ptr() == p.data_ptr() for p in self.parameters())
X.is_inference()
torch._C._functorch.is_batchedtensor(X)
X.retains_grad
X.is_nonzero() or True if X.numel() == 1 else True
X.storage().size() > 20
torch.compiler.is_compiling()
torch.jit.is_tracing()
X.is_sparse
X.is_quantized
X.is_meta
X.shape == torch.Size(list(X.shape))
id(X) == id(Y)
X.tolist() is not None
X.detach().numpy().size > 0
sum(1 for _ in X) > 1
max(X.shape) > 4
X.shape[0] in (1, 2)
str(X.dtype).endswith('32')
"""
)
"""Questions on which a branch hangs."""

REGIONS = lines(
    r"""
with torch.no_grad():
with torch.enable_grad():
with torch.inference_mode():
with torch.autocast('cpu', torch.bfloat16):
with torch.autocast('cpu', enabled=False):
with torch.set_grad_enabled(self.training):
with contextlib.nullcontext():
with torch.profiler.record_function('x'):
with torch.autograd.set_detect_anomaly(False):
with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
with torch.device('cpu'):
with torch.autograd.graph.save_on_cpu():
"""
)
"""Settings that hold for a part of forward."""

WRAPPERS = lines(
    r"""
V = torch.vmap(lambda t: t.sin() * 2)(X)
V = torch.vmap(SIZE)(X)
V = torch.func.grad(lambda t: (t ** 3).sum())(X)
V = torch.func.jvp(torch.tanh, (X,), (X,))[1]
V = torch.func.vjp(torch.sigmoid, X)[1](X)[0]
V = torch.func.functional_call(SIZE, dict(SIZE.named_parameters()), (X,))
V = checkpoint(lambda t: SIZE(t).relu(), X, use_reentrant=False)
with torch.enable_grad():\n    V = X.detach().requires_grad_()\n    V = torch.autograd.grad((V ** 2).sum(), V)[0]
try:\n    V = X.reshape(7, 11, 13)\nexcept RuntimeError:\n    V = X * 3
try:\n    V = int(X.shape[0]) * X\nexcept Exception:\n    V = X.exp()
V = [SIZE(r) for r in X][0]
V = sum(r.sum() for r in X) + X
V = max(list(X), key=lambda r: r.numel()) + 1
V = functools.reduce(torch.add, X.unbind(0))
V = twice(F.silu)(X)
V = (lambda t, scale=2.0: t * scale)(X)
V = dict(a=X.relu())['a']
V = torch.stack(list(map(torch.tanh, X.unbind(-1))), -1)
V = X.numpy().shape[0] * X
V = torch.tensor(X.shape).float().sum() + X
V = X * X.shape[0] ** 0.5
V = X / math.sqrt(X.size(-1))
V = SIZE(X)\nV = torch.nn.utils.parametrize.is_parametrized(SIZE) * V + V
while X.shape[-1] > 3: X = X[..., 1:]\nV = X
V = X\nwhile V.dim() < 5: V = V.unsqueeze(0)
self.extra = X.mean()\nV = X - self.extra\ndel self.extra
V = X.relu() if (lambda: X.dim())() else X
V, _ = torch.min(X, -1)
V, *_ = X.unbind(0)
V = torch.jit.annotate(torch.Tensor, X).cos()
V = torch.utils.checkpoint.checkpoint(torch.sin, X, use_reentrant=True)
V = nn.functional.dropout(X, 0.0, training=True)
V = torch.utils._pytree.tree_map(torch.sin, [X])[0]
V = X.register_hook(lambda g: g * 2) and X * 2 if X.requires_grad else X * 2
V = torch.cond(torch.tensor(True), lambda t: t.sin(), lambda t: t.cos(), (X,))
V = torch.Tensor.__add__(X, 1)
V = torch.ops.aten.relu(X)
V = torch.relu(input=X)
V = X.new_tensor([1.0, 2.0]).sum() + X
V = torch.nn.utils.rnn.pad_sequence(list(X))
print(end='')\nV = X.exp()
f'{X.shape}'\nV = X.log1p()
assert X.shape[0] >= 0\nV = X.sin()
"""
)
"""Statements around functions, layers and other code."""
