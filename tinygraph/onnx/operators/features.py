"""What comes before and instead of networks: features out of numbers, counts of n-grams, trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ...graph.op import constant
from .rules import Applied, rule

ML = "ai.onnx.ml"


@rule("Binarizer", domain=ML)
def binarizer(c: Applied) -> Node:
    x = c.x(0)
    return ops.cast(ops.less(c.attr("threshold", 0.0), x), x.dtype)


@rule("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(c: Applied) -> Node:
    x = c.x(0)
    y = ops.take(x, ops.reshape(c.x(1), (-1,)), x.ndim - 1)
    return ops.reshape(y, (1, -1)) if x.ndim == 1 else y


@rule("LabelEncoder", domain=ML)
def label_encoder(c: Applied) -> Node:
    """Each element's value of a table, or the default where it is no key."""
    x = c.x(0)
    keys, values = (_table(c, what) for what in ("keys", "values"))
    if len(keys) != len(values):
        raise c.fault(f"requires a value for each key, got {len(keys)} and {len(values)}")
    hit = ops.equal(ops.expand_dims(x, -1), constant(keys.astype(x.dtype)))
    at = ops.argmax(ops.cast(hit, "int32"), -1)
    return ops.where(ops.any(hit, -1), ops.take(constant(values), at), _default(c, values))


def _table(c: Applied, what: str) -> np.ndarray:
    """The keys or values, as the attribute that is given has them."""
    dtypes = {"int64s": np.int64, "floats": np.float32}
    for kind in ("tensor", "int64s", "floats"):
        if (found := c.attr(f"{what}_{kind}")) is not None:
            return np.asarray(found, dtypes.get(kind)).reshape(-1)
    raise c.fault(f"requires {what} that are numbers: tinygraph lacks texts")


def _default(c: Applied, values: np.ndarray) -> Any:
    found = c.attr("default_tensor")
    if found is None:
        found = c.attr("default_int64" if values.dtype.kind == "i" else "default_float")
    return constant(np.asarray(found, values.dtype).reshape(()))


# -- n-grams ---------------------------------------------------------------------------------------


@rule("TfIdfVectorizer")
def tf_idf_vectorizer(c: Applied) -> Node:
    """How often each n-gram of the pool is in a row, whose numbers may be apart by some others."""
    x = c.x(0)
    if c.attr("pool_int64s") is None:
        raise c.fault("has a pool of texts, which tinygraph lacks")
    rows = ops.cast(ops.reshape(x, (-1, x.shape[-1])), "int64")
    columns = list(c.attr("ngram_indexes"))
    counts: list[Node] = []
    places: list[int] = []
    for n, grams, first in _pools(c):
        places += columns[first : first + len(grams)]
        counts.append(_occurrences(c, rows, n, grams))
    width = max(columns, default=-1) + 1
    c.require_fit(len(places), width)
    where = np.zeros((len(places), width), np.float32)
    where[np.arange(len(places)), places] = 1
    found = ops.concat(counts, 1) @ constant(where) if counts else ops.zeros((rows.shape[0], width))
    if c.attr("mode") == "IDF":
        found = ops.minimum(found, 1.0)
    if c.attr("mode") != "TF" and (weights := c.attr("weights")) is not None:
        each = np.ones(width, np.float32)
        each[columns] = weights
        found = found * constant(each)
    return ops.reshape(found, (*x.shape[:-1], width))


def _pools(c: Applied) -> list[tuple[int, np.ndarray, int]]:
    """(n, its n-grams [count, n], the number of the first) for each n that is counted."""
    pool, starts = np.asarray(c.attr("pool_int64s"), np.int64), list(c.attr("ngram_counts"))
    found, first = [], 0
    for n, (a, b) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        if not 0 <= a <= b <= len(pool) or (b - a) % n:
            raise c.fault(f"has n-grams of {n} from {a} to {b} of a pool of {len(pool)}")
        grams = pool[a:b].reshape(-1, n)
        if c.attr("min_gram_length") <= n <= c.attr("max_gram_length") and len(grams):
            found.append((n, grams, first))
        first += len(grams)
    return found


def _occurrences(c: Applied, rows: Node, n: int, grams: np.ndarray) -> Node:
    """[rows, n-grams]: how often each is there, at any of the distances that are allowed."""
    length = rows.shape[1]
    total = ops.zeros((rows.shape[0], len(grams)))
    for distance in range(1, 2 + (c.attr("max_skip_count") if n > 1 else 0)):
        starts = length - (n - 1) * distance
        if starts < 1:
            break
        hit: Node | None = None
        for k in range(n):
            part = ops.expand_dims(rows[:, k * distance : k * distance + starts], 2)
            same = ops.equal(part, constant(grams[:, k]))
            hit = same if hit is None else ops.logical_and(hit, same)
        assert hit is not None
        total = total + ops.sum(ops.cast(hit, "float32"), 1)
    return total


# -- trees -----------------------------------------------------------------------------------------

# of a node: whether a value takes its first branch, by the value and the split
MODES: dict[int, Callable[..., Node]] = {
    0: ops.less_equal, 1: ops.less, 2: ops.greater_equal, 3: ops.greater, 4: ops.equal,
    5: ops.not_equal,
}  # fmt: skip
MEMBER = 6
AGGREGATES = {0: ops.mean, 1: ops.sum, 2: ops.min, 3: ops.max}
TRANSFORMS: dict[int, Callable[[Node], Node]] = {0: lambda y: y, 1: ops.softmax, 2: ops.sigmoid}


@rule("TreeEnsemble", domain=ML)
def tree_ensemble(c: Applied) -> Node:
    """All trees go down one level at a time; leaves, numbered after the nodes, stay where they are.

    x[N, features] -> [N, targets].
    """
    x, roots = c.x(0), np.asarray(c.attr("tree_roots"), np.int64)
    aggregate, transform = c.attr("aggregate_function", 1), c.attr("post_transform", 0)
    if aggregate not in AGGREGATES or transform not in TRANSFORMS:
        raise c.fault(f"has the aggregate {aggregate} and the transform {transform}: not supported")
    following, depth = _branches(c, roots)
    features = np.asarray(c.attr("nodes_featureids"), np.int64)
    at = ops.broadcast_to(constant(roots), (x.shape[0], len(roots)))
    for _ in range(depth):
        inside = ops.minimum(at, len(features) - 1)
        value = ops.take_along_axis(x, ops.take(constant(features), inside), 1)
        first = _first_branch(c, value, inside)
        at = ops.where(first, *(ops.take(constant(f), at) for f in following))
    leaf = ops.maximum(at - len(features), 0)
    weights = ops.take(constant(np.asarray(c.attr("leaf_weights"), x.dtype)), leaf)
    target = ops.take(constant(np.asarray(c.attr("leaf_targetids"), np.int64)), leaf)
    mine = ops.equal(ops.expand_dims(target, 2), ops.arange(c.attr("n_targets"), dtype="int64"))
    # a tree says nothing of targets that are not its leaf's
    nothing = {2: np.inf, 3: -np.inf}.get(aggregate, 0.0)
    each = ops.where(mine, ops.expand_dims(weights, 2), nothing)
    return TRANSFORMS[transform](AGGREGATES[aggregate](each, 1))


def _branches(c: Applied, roots: np.ndarray) -> tuple[list[np.ndarray], int]:
    """Where each node's first and second branch lead, leaves to themselves; the greatest depth."""
    count, leaves = len(c.attr("nodes_featureids")), len(c.attr("leaf_targetids"))
    stay = count + np.arange(leaves)
    following = []
    for name in ("true", "false"):
        ids = np.asarray(c.attr(f"nodes_{name}nodeids"), np.int64)
        is_leaf = np.asarray(c.attr(f"nodes_{name}leafs"), np.int64) != 0
        if len(ids) != count or len(is_leaf) != count:
            raise c.fault(f"requires {count} branches, got {len(ids)}")
        if (ids < 0).any() or (ids >= np.where(is_leaf, leaves, count)).any():
            raise c.fault("has branches to nodes that are not there")
        following.append(np.concatenate([np.where(is_leaf, ids + count, ids), stay]))
    if ((roots < 0) | (roots >= count)).any():
        raise c.fault("has roots that are not there")
    here, depth = set(roots.tolist()), 0
    while any(n < count for n in here):
        here = {int(f[n]) for f in following for n in here}
        depth += 1
        if depth > count:
            raise c.fault("has a cycle of branches")
    return following, depth


def _first_branch(c: Applied, value: Node, at: Node) -> Node:
    """Whether the value at each node takes its first branch."""
    modes = np.asarray(c.attr("nodes_modes"), np.int64)
    splits = constant(np.asarray(c.attr("nodes_splits"), value.dtype))
    split, found = ops.take(splits, at), ops.zeros(value.shape, "bool")
    for mode in sorted(set(modes.tolist())):
        if mode == MEMBER:
            members = ops.take(constant(_members(c, modes).astype(value.dtype)), at)
            holds = ops.any(ops.equal(ops.expand_dims(value, 2), members), 2)
        else:
            holds = MODES[mode](value, split)
        found = ops.where(ops.equal(ops.take(constant(modes), at), mode), holds, found)
    if (tracks := c.attr("nodes_missing_value_tracks_true")) is not None:
        kept = ops.not_equal(ops.take(constant(np.asarray(tracks, np.int64)), at), 0)
        found = ops.logical_or(found, ops.logical_and(ops.isnan(value), kept))
    return found


def _members(c: Applied, modes: np.ndarray) -> np.ndarray:
    """[nodes, longest set]: the members of each node's set, which the file ends by NaN; filled up
    with NaN, which equals nothing.
    """
    flat = np.asarray(c.attr("membership_values", np.zeros(0)), np.float64)
    sets = [s[~np.isnan(s)] for s in np.split(flat, np.flatnonzero(np.isnan(flat)) + 1)]
    here = np.flatnonzero(modes == MEMBER)
    if len(sets) < len(here):
        raise c.fault(f"requires {len(here)} sets of members, got {len(sets)}")
    found = np.full((len(modes), max((len(s) for s in sets), default=0)), np.nan)
    for node, members in zip(here, sets, strict=False):
        found[node, : len(members)] = members
    return found
