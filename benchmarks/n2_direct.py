"""N² as a reader of the paper (arXiv:2410.23686) or of its authors' code would first write it.

The weights ψ are matrices of nodes by pseudo-nodes, and the messages [M ‖ M̂ ‖ Q] are put side by side and multiplied by
the sparse adjacency matrix. The parameters and their names are those of a `zoo.models.N2`, whose oracle this is in the
tests and whose rival in `benchmarks/n2.py`; so it computes nothing with the zoo's own code, and shall not be made
faster.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, layer_norm, leaky_relu

from zoo._dgl import dgl
from zoo.models.n2 import N2
from zoo.training.recipe import TrainingSpec

__all__ = ["DirectN2", "train"]

MAX_ROW_SUM = 1e4


class DirectN2(nn.Module):
    """The equations for one graph, pseudo-node by node.

    Pieces of states are (k, rows, state_width); one piece stands for k equal ones.

    Args:
        model: Whose parameters and options are used, and whose mode is taken over.
        graph: Not a batch.
    """

    def __init__(self, model: N2, graph: dgl.DGLGraph) -> None:
        super().__init__()
        self.model, self.options = model, model.arguments
        self.is_code = self.options["form"] == "code"
        self.num_pieces, self.width = self.options["num_pieces"], self.options["state_width"]
        self.adjacency, self.degrees = self.make_adjacency(graph)
        self.train(model.training)

    def make_adjacency(self, graph: dgl.DGLGraph) -> tuple[Tensor, Tensor]:
        """A, in the code's form D^(-1/2) A D^(-1/2), receivers by senders; and the in-degrees, (num_nodes, 1)."""
        senders, receivers = (ends.long() for ends in graph.edges())
        like = self.model.pseudo_states.detach()
        degrees = torch.bincount(receivers, minlength=graph.num_nodes()).to(like)
        weights = like.new_ones(len(senders))
        if self.is_code:
            scale = degrees**-0.5
            scale[scale == math.inf] = 0
            weights = scale[receivers] * scale[senders]
        shape = graph.num_nodes(), graph.num_nodes()
        adjacency = torch.sparse_coo_tensor(torch.stack([receivers, senders]), weights, shape, check_invariants=False)
        return adjacency.coalesce(), degrees.unsqueeze(1)

    def forward(self, feat: Tensor) -> Tensor:
        """(num_nodes, in_feats) to (num_nodes, num_classes), with the readout (1, num_classes)."""
        steps, pseudo = self.run(feat)
        return self.logits(steps[-1] if self.model.pool is None else self.pooled(pseudo))

    def run(self, feat: Tensor) -> tuple[list[Tensor], Tensor]:
        """Q after each step, and the pieces of R after the last."""
        steps: list[Tensor] = []
        q, m = self.nl(self.model.embed, feat).split([self.width, self.options["hidden"]], 1)
        r = self.model.pseudo_states.unsqueeze(0)
        for i in range(self.model.num_steps):
            step: Any = self.model.steps[i % len(self.model.steps)]
            parts, value = [m, q], None
            if self.options["adaptation"]:
                adapted, r, value = self.glob(step.adaptation, q, m, r)
                parts = [m, adapted, q]
            message = torch.cat(parts, 1)
            if self.options["local_passing"]:
                message = self.local(step.local_passing, message)
                q = self.norm(step.local_passing.norm, q + self.nl(step.local_passing.update, message))
            if self.options["global_passing"]:
                received, r, _ = self.glob(step.global_passing, q, message, r, value if self.is_code else None)
                q = self.norm(step.norm, q + (received if self.is_code else self.nl(step.update, received)))
                if self.options["message_update"] and i + 1 < self.model.num_steps:
                    update: Any = self.model.message_updates[i % len(self.model.message_updates)]
                    change = self.nl(update.update, received) if self.is_code else received
                    m = self.norm(update.norm, m + change)
            steps.append(q)
        return steps, r

    def glob(
        self, layer: Any, q: Tensor, m: Tensor, r: Tensor, extra: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """GlobMP: M_glob, the new R, and M_p."""
        diffusion, refinement, collection = list(layer.pathways) if self.is_code else list(layer.pathways) * 3
        gathered = self.weights(diffusion, r, q.unsqueeze(0)) @ m
        if self.options["scale"] and self.options["pathways"] == "proximity":
            gathered = gathered / len(q)
        if extra is not None:
            gathered = torch.cat([gathered, extra], 1)
        refined = self.weights(refinement, r, r) @ gathered
        r = self.norm(layer.norm, r + self.as_pieces(self.nl(layer.displacement, refined)))
        value = self.nl(layer.value, refined)
        return self.weights(collection, q.unsqueeze(0), r) @ value, r, value

    def local(self, layer: Any, message: Tensor) -> Tensor:
        """LocalMP."""
        if self.is_code:
            return self.adjacency @ message
        return (message + self.adjacency @ self.nl(layer.propagate.transform, message)) / (self.degrees + 1)

    def weights(self, pathways: Any, left: Tensor, right: Tensor) -> Tensor:
        """Those of the right side's rows in a sum at each of the left side's."""
        if self.options["pathways"] == "uniform":
            return left.new_full((left.shape[1], right.shape[1]), 1 / right.shape[1])
        if self.options["pathways"] == "attention":
            return self.psi(pathways.proximity, left, right, math.sqrt(self.num_pieces * self.width)).softmax(1)
        return self.scaled_psi(pathways.proximity, left, right)

    def scaled_psi(self, proximity: Any, left: Tensor, right: Tensor) -> Tensor:
        """ψ; with `scale` divided and clipped."""
        if not self.options["scale"]:
            return self.psi(proximity, left, right, 1)
        return self.clip(self.psi(proximity, left, right, self.num_pieces * self.width))

    def psi(self, proximity: Any, left: Tensor, right: Tensor, divisor: float) -> Tensor:
        """Σ_i λ_i left_iᵀ right_i / divisor; where one side has one piece, the other's are summed up first."""
        if not self.is_code:
            left, right = (self.as_pieces(self.nl(proximity.pieces, side[0], drop=False)) for side in (left, right))
        weight = proximity.weight.view(-1, 1, 1) / divisor
        if len(left) == 1:
            return left[0] @ (weight * right).sum(0).t()
        if len(right) == 1:
            return (weight * left).sum(0) @ right[0].t()
        return (weight * (left @ right.transpose(1, 2))).sum(0)

    def as_pieces(self, rows: Tensor) -> Tensor:
        """(rows, k · state_width) to (k, rows, state_width)."""
        return rows.unflatten(1, (-1, self.width)).transpose(0, 1)

    def clip(self, weights: Tensor) -> Tensor:
        """Rows whose sum is beyond ±10⁴ scaled down to that."""
        with torch.no_grad():
            sums = weights.sum(1, keepdim=True).abs()
            factors = torch.where(sums > MAX_ROW_SUM, MAX_ROW_SUM / sums, torch.ones_like(sums))
        return factors * weights

    def nl(self, layer: Any, rows: Tensor, *, drop: bool = True) -> Tensor:
        """A linear layer, LeakyReLU, dropout."""
        activated = leaky_relu(rows @ layer.linear.weight.t() + layer.linear.bias)
        return dropout(activated, self.options["dropout"], self.training and drop)

    def norm(self, layer: Any, rows: Tensor) -> Tensor:
        """What stands behind a sum."""
        if not self.options["layer_norm"]:
            return rows
        return layer_norm(rows, rows.shape[-1:], layer.weight, layer.bias)

    def pooled(self, pseudo: Tensor) -> Tensor:
        """The pseudo-nodes' pieces to the state of the graph, (1, state_width)."""
        pool: Any = self.model.pool
        return self.norm(pool.norm, self.nl(pool.combine, pseudo.flatten(0, 1).t()).t())

    def logits(self, states: Tensor) -> Tensor:
        """(rows, state_width) to (rows, num_classes)."""
        head: Any = self.model.head
        return self.scaled_psi(head.proximity, states.unsqueeze(0), head.states.unsqueeze(0))


def train(model: DirectN2, graph: dgl.DGLGraph, training: TrainingSpec) -> Iterator[float]:
    """Trains with Adam on the nodes of `train_mask`; the seconds of every epoch.

    After each step one pass gives the accuracies on validation and test.
    """
    feat, labels, rows = (graph.ndata[name] for name in ("feat", "label", "train_mask"))
    optimizer = torch.optim.Adam(model.parameters(), lr=training.lr, weight_decay=training.weight_decay)
    for _ in range(training.epochs):
        start = time.perf_counter()
        model.train()
        optimizer.zero_grad()
        cross_entropy(model(feat)[rows], labels[rows]).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            right = model(feat).argmax(1) == labels
            for part in ("val_mask", "test_mask"):
                float(right[graph.ndata[part]].float().mean())
        yield time.perf_counter() - start
