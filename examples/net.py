"""A small model for the examples."""

from torch import Tensor, nn


class Net(nn.Module):
    """Two convolutions and a classifier."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        x = self.stem(x).relu()
        x = self.body(x).relu()
        return self.head(x.mean((2, 3)))
