"""Graph -> Graph, a file each. compile() runs ``PIPELINE``; each can be left out by name."""

from collections.abc import Callable

from ..graph.ir import Graph
from ..graph.rewrite import Rule
from . import contract_sums as _contract_sums
from . import defer_lookups as _defer_lookups
from . import fold_constants as _fold_constants
from . import integer_products as _integer_products
from . import simplify as _simplify
from . import simplify_views as _simplify_views
from . import stabilize as _stabilize
from .contract_sums import contract_sums
from .defer_lookups import defer_lookups
from .effects import Update, UpdateError, strip_effects
from .expand_composites import expand_composites
from .expand_winograd import expand_winograd
from .flatten_volumes import flatten_volumes
from .fold_batch_norm import fold_batch_norm
from .fold_constants import fold_constants
from .fuse_attention import fuse_attention
from .hoist_loops import hoist_loops
from .identities import drop_identities
from .integer_products import integer_products
from .merge_loops import merge_loops
from .mixed_precision import mixed_precision
from .narrow_products import narrow_products
from .prune_loops import prune_loops
from .simplify import simplify
from .simplify_views import simplify_views
from .split_dilation import split_dilation
from .stabilize import stabilize
from .unroll_loops import unroll_loops
from .widen import widen

PIPELINE: tuple[Callable[..., Graph], ...] = (
    widen,  # floats of 16 bits are converted to be computed with
    expand_composites,  # operators that the backend has no kernel for, in others
    fuse_attention,  # attention in one pass over its keys; the gradient as it was built
    drop_identities,  # stop_gradient and its like have said what they had to say
    merge_loops,  # a loop, and what its gradient needs of it, run once
    prune_loops,  # results and histories of loops that are never read
    unroll_loops,  # loops within loops
    hoist_loops,  # products that no step waits for become one for all steps
    integer_products,  # of floats that were quantized, in the integers themselves
    contract_sums,  # sums over a batch of products become part of the products
    fold_constants,  # what depends on nothing is computed now
    stabilize,  # log(softmax(x)) and log(1 + exp(x)) in forms that do not overflow
    fold_batch_norm,  # scales after convolutions move into weights that are prepared once
    flatten_volumes,  # convolutions of volumes are convolutions of images
    split_dilation,  # dilated ones are plain ones of every d-th pixel, for Winograd's algorithm
    simplify,  # algebra that holds for NaN, infinities and -0.0
    simplify_views,  # reshapes, transposes, slices and broadcasts that cancel or join
    defer_lookups,  # tables are multiplied, not the rows that are looked up in them
    mixed_precision,  # what is rounded to bfloat16, where the user asks
    narrow_products,  # of widened bfloat16, in bfloat16 itself, added up in float32
    expand_winograd,  # what the user wants by Winograd, on a backend without kernels for it
)

# Values before and after are not compared. Winograd's are less exact, and a NaN spreads over a
# tile: the user's choice, as with kernels of that kind. Sums of integers are more exact, and where
# a float sum is next to the middle of two integers, it may be rounded to the other one then.
# Rounding is what mixed_precision is for.
APPROXIMATE = (expand_winograd, integer_products, mixed_precision)

RULES: tuple[Rule, ...] = (
    *_integer_products.RULES,
    *_contract_sums.RULES,
    *_defer_lookups.RULES,
    *_fold_constants.RULES,
    *_stabilize.RULES,
    *_simplify.RULES,
    *_simplify_views.RULES,
)

__all__ = [
    "APPROXIMATE",
    "PIPELINE",
    "RULES",
    "Update",
    "UpdateError",
    "contract_sums",
    "defer_lookups",
    "drop_identities",
    "expand_composites",
    "expand_winograd",
    "flatten_volumes",
    "fold_batch_norm",
    "fold_constants",
    "fuse_attention",
    "hoist_loops",
    "integer_products",
    "merge_loops",
    "mixed_precision",
    "narrow_products",
    "prune_loops",
    "simplify",
    "simplify_views",
    "split_dilation",
    "stabilize",
    "strip_effects",
    "unroll_loops",
    "widen",
]
