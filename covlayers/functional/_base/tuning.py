"""Measured thresholds: from where on one way of computing costs less than another.

Each names the command that measures it. They choose how a result is computed, never what it is.
"""

PRODUCT_SIZES = 16, 32
"""On a CPU, the sizes from which and up to which matrix products cost less than LAPACK's
eigendecomposition: 0.9 of its time at n = 16, 0.6 at 32, 1.4 at 64. ``python -m benchmarks.run``"""

PRODUCT_ROWS = 1024
"""Products cost less if all matrices together have this many rows. ``python -m benchmarks.run``"""

SIZE_PER_THREAD = 56
"""From this size on, times the number of threads, one float32 eigendecomposition costs less than
the products of a published method: it took the time of about 1600/n products on one thread, and
more threads speed up products alone. ``python -m benchmarks.targets``"""

LARGEST_WIDE = 48
"""On a CPU, the size up to which a decomposition in float64 costs at most a tenth more than one in
float32, which is less than refining the latter; at 64 it costs 1.4 times as much.
``python -m benchmarks.overhead``"""

LINKED = 64
"""From this size on a link is kept in place of an output, 16 KB and more of each float32 matrix. It
costs a step of a small root 9 us of 150 on a CPU. ``python -m benchmarks.overhead``"""

LARGEST_ON_CHIP = 64
"""The largest matrix that a Triton kernel holds: it takes at most 80 KB of shared memory, which
every GPU since Ampere has; one of 128 would take 256 KB, which none has.
``python -m benchmarks.run``"""

LARGEST_GROUP = 256
"""The most channels of a group that the kernels of a batch take, four blocks of 64 to a side of its
covariance. Not measured yet."""

PROGRAMS = 256
"""How many programs of a kernel share the positions of a batch, which is two for each
multiprocessor of an H200; their sums are added up by a second kernel, whose time grows with it. Not
measured yet."""

MOST_POSITIONS = 2**12
"""Up to this many positions one program sums a tile of a covariance on a GPU by itself; with more,
a library's product splits the sum. Not measured yet."""

FEW_POSITIONS = 256
"""With at most this many positions, samples are joined by a copy, and one product replaces a
product for each sample. ``python -m benchmarks.layers``"""

FEW_CHANNELS, BLOCK = 16, 2**10
"""With fewer than FEW_CHANNELS channels BLAS adds positions one by one and rounding grows, so sums
are taken in blocks of BLOCK, which are added in float64: 2e-5 of the largest entry become 3e-7 at
300,001 positions. ``python -m pytest tests/functional/test_covariance.py``"""

FEW_BY_CHANNELS = 0.875, 24
"""Positions are few, and a function of the covariance costs less on their side, if they are at most
0.875 for each channel less 24: at 64, 128 and 256 channels the sides take equal times from 38, 104
and 210 positions on, or from more, by the method. ``python -m benchmarks.smaller_side``

An accelerator takes the same bound and at most LARGEST_ON_CHIP positions. There it was not measured
in time, as no GPU was at hand; within it, a float32 root by products was as accurate as on the side
of the channels, or more so by up to four digits. With steep spectra and more positions it is not:
49 of 64 channels lose a digit."""

LARGEST_OF_TEAM = 512
"""The largest matrix that a team of programs takes, which share its blocks out."""

TEAMS_AT_ONCE = 8
"""How many teams a GPU holds at least, one program to a multiprocessor: that bounds their size. As
many launches at once leave room for a whole team; a GPU of which a process has an eighth or less,
by a green context, does not."""

BLOCK_SIZE, BLOCK_DEPTH, BLOCK_WARPS, BLOCK_STAGES = 64, 32, 4, 3
"""The sides of a block of a result, the depth of a block of a factor, the warps of a program, and
the blocks that are on their way to it. More warps share such a block badly: on an H200 eight took
1.4 times as long as four, at a depth of 16. The rest is not measured yet."""

DEPTH_ALONE = 16
"""The depth where one program has a matrix to itself: a compiler unrolls all its blocks."""

MENDERS = 64
"""How many programs look for matrices whose root has to be mended, each with a memory of six
matrices. Where there are none they read one number of each matrix."""
