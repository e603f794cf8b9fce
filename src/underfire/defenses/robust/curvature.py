"""The largest eigenvalue of the loss's Hessian in the image, as SSR penalises it (Wang et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def largest_eigenvalues(run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Compute the largest eigenvalue of the Hessian of the cross-entropy in each image, in closed form.

    In a network of ReLUs the logits' second derivatives are zero almost everywhere. So the Hessian is that of the
    softmax alone, H = J^T (diag(p) - p p^T) J, where J is the K x d Jacobian of the logits; it does not depend on the
    label. With s = sqrt(p) and B = diag(s) (I - s s^T), which has B B^T = diag(p) - p p^T, its nonzero eigenvalues are
    those of the small matrix B^T J J^T B (K x K). In other networks H is the Gauss-Newton part of the Hessian.

    The Jacobian takes one gradient per class, without a graph. The value is v^T H v for the eigenvector v of length 1:
    its derivative in the parameters is that of the eigenvalue, since v is where v^T H v is stationary. So memory does
    not grow with the number of classes, but for the K gradients.

    Args:
        run: computes logits N x K; those of an image may depend on this image only.
        images: N x C x H x W.

    Returns:
        N, differentiable in the network's parameters; the eigenvectors are constants.
    """
    leaf = images.detach().requires_grad_()
    logits = run(leaf)
    count = logits.shape[1]
    rows = [torch.autograd.grad(logits[:, c].sum(), leaf, retain_graph=True)[0] for c in range(count)]
    jacobian = torch.stack([row.flatten(1) for row in rows], 1)
    vectors = _top_vectors(jacobian, logits.detach().softmax(1)).view_as(images)
    # J v by two gradients: that of w^T J v in w, for any w.
    weights = torch.zeros_like(logits, requires_grad=True)
    (pulled,) = torch.autograd.grad(logits, leaf, weights, create_graph=True)
    (moved,) = torch.autograd.grad(pulled, weights, vectors, create_graph=True)
    # v^T H v is the variance of J v under p. As a difference of two squares it would be lost to rounding if p is sure.
    p = logits.softmax(1)
    centre = (p * moved).sum(1, keepdim=True)
    values: Tensor = (p * (moved - centre).square()).sum(1)
    return values


def _top_vectors(jacobian: Tensor, p: Tensor) -> Tensor:
    """Find the eigenvector of length 1 of the largest eigenvalue of J^T (diag(p) - p p^T) J, N x d.

    Args:
        jacobian: J, N x K x d.
        p: probabilities, N x K.

    Returns:
        N x d; zeros for an image whose Hessian is zero.
    """
    root = p.sqrt()
    eye = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)
    half = root[:, :, None] * (eye - root[:, :, None] * root[:, None, :])
    reached = half.transpose(1, 2) @ jacobian
    # Weights that are not finite make logits that are not: the value says so, and eigh need not.
    gram = (reached @ reached.transpose(1, 2)).nan_to_num(0.0, 0.0, 0.0)
    _, vectors = torch.linalg.eigh(gram)
    top = (vectors[:, None, :, -1] @ reached).squeeze(1)
    tiny = torch.finfo(top.dtype).tiny
    top = top / top.abs().amax(1, keepdim=True).clamp(min=tiny)  # else squares of small values would vanish
    return F.normalize(top, dim=1, eps=tiny)
