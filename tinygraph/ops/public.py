"""The functions of ``tg.ops``, and of ``tg``: what each module lists in its ``__all__``."""

from .activation import *
from .along import *
from .arithmetic import *
from .arranging import *
from .attention import *
from .bits import *
from .convolution import *
from .einsum import *
from .gather import *
from .identity import *
from .indexing import *
from .linalg import *
from .logic import *
from .loss import *
from .math import *
from .normalization import *
from .order import *
from .pool import *
from .random import *
from .reduce import *
from .resample import *
from .scan import *
from .source import *
from .trigonometry import *
from .view import *
