"""The compiled loops of PSMI in float32 on processors.

What belongs here: loops over samples, directions and classes, which release Python's lock; sums that grow with the number
of samples are float64. Their order, threads and memory are the business of `psmi_fused.py`.
"""

from __future__ import annotations

import numpy as np

from memo_assets.measures.compiled import compiled

_TILE = 1024  # directions in one pass of the densities: long loops whose arrays the first cache holds
_LARGEST = np.float32(3e38)
_FURTHEST = np.float32(80.0)  # exp of it, times any number of classes, is a float32

_compiled = compiled(fastmath={"nsz", "contract", "arcp", "nnan", "ninf", "reassoc"})


@_compiled
def butterflies(x):
    """Multiply x float32 [n, m] by the Hadamard matrix of width n in Sylvester's order, in place; n is a power of two."""
    numbers = x.reshape(x.size)
    half = x.shape[1]
    while half < numbers.size:
        for start in range(0, numbers.size, 2 * half):
            low, high = numbers[start : start + half], numbers[start + half : start + 2 * half]
            for k in range(half):
                one, other = low[k], high[k]
                low[k] = one + other
                high[k] = one - other
        half *= 2


@_compiled
def mix(states, center, scattering, mixed, squares):
    """Hadamard transforms of states [n, d] less their center: mixed [n, r, c], c >= 8.

    Scattering: the signs and places [d] of the states' numbers before the transform. Squares float64 [n] become the squared
    lengths of the centred states.
    """
    n, r, c = mixed.shape
    signs, places = scattering
    turned = np.empty((c, r), np.float32)
    placed = turned.reshape(turned.size)
    width = states.shape[1]
    for i in range(n):
        row = states[i]
        placed[:] = np.float32(0.0)
        square = 0.0
        for k in range(width):
            value = row[k] - center[k]
            square += np.float64(value) * np.float64(value)
            placed[places[k]] = value * signs[k]
        squares[i] = square
        butterflies(turned)
        own = mixed[i]
        for first in range(0, c, 8):  # eight numbers at a time are one line of the cache
            for j in range(r):
                for k in range(first, first + 8):
                    own[j, k] = turned[k, j]
        butterflies(own)


@_compiled
def spread(sums, skip, x):
    """Multiply sums [n, r, B] of B blocks by the Hadamard matrix of width r: projections x [n, K] on their directions.

    The first `skip` directions are left out, and those after K more. Sums are overwritten.
    """
    n, r, n_blocks = sums.shape
    last = skip + x.shape[1] - (n_blocks - 1) * r  # directions of the last block
    for i in range(n):
        own, row = sums[i], x[i]
        butterflies(own)
        place = 0
        for k in range(r):
            first = 0 if k >= skip else 1
            stop = n_blocks if k < last else n_blocks - 1
            for block in range(first, stop):
                row[place + block - first] = own[k, block]
            place += stop - first


@_compiled
def moments(x, class_of, directions, sums, squares):
    """Add directions (from, up to) of x [N, K] to sums and sums of squares, float64 [C, K], of each class."""
    start, stop = directions[0], min(directions[1], x.shape[1])
    for i in range(x.shape[0]):
        row = x[i, start:stop]
        total, square = sums[class_of[i], start:stop], squares[class_of[i], start:stop]
        for k in range(stop - start):
            value = np.float64(row[k])
            total[k] += value
            square[k] += value * value


@_compiled
def exponential(x):
    """Exp for x <= 88 in float32, off by some units in the last place; e^-87 stands for all below it."""
    x = max(x, np.float32(-87.0))
    whole = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    rest = x - whole * np.float32(0.693359375)
    rest = rest - whole * np.float32(-2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * rest + np.float32(1.3981999507e-3)
    y = y * rest + np.float32(8.3334519073e-3)
    y = y * rest + np.float32(4.1665795894e-2)
    y = y * rest + np.float32(1.6666665459e-1)
    y = y * rest + np.float32(5.0000001201e-1)
    y = y * rest * rest + rest + np.float32(1.0)
    return y * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@_compiled
def logarithm(x):
    """Log of x >= 1 in float32, off by 1e-7 of itself or of 1 at most."""
    bits = np.int32(np.float32(x).view(np.int32) - 0x3F3504F3)  # the mantissa goes from sqrt(1/2) to sqrt(2)
    whole = np.int32(bits >> 23)
    part = np.int32((bits & 0x7FFFFF) + 0x3F3504F3).view(np.float32) - np.float32(1.0)
    y = np.float32(7.0376836292e-2)
    y = y * part - np.float32(1.1514610310e-1)
    y = y * part + np.float32(1.1676998740e-1)
    y = y * part - np.float32(1.2420140846e-1)
    y = y * part + np.float32(1.4249322787e-1)
    y = y * part - np.float32(1.6668057665e-1)
    y = y * part + np.float32(2.0000714765e-1)
    y = y * part - np.float32(2.4999993993e-1)
    y = y * part + np.float32(3.3333331174e-1)
    square = part * part
    y = y * part * square - np.float32(0.5) * square
    return y + part + np.float32(whole) * np.float32(0.693147181)


@_compiled
def _insert(tail, values):
    """Put those of the values that are lowest into `tail`, which holds the lowest so far from the least on."""
    last = tail.shape[0] - 1
    bound = tail[last]
    for k in range(values.shape[0]):
        value = values[k]
        if value < bound:
            place = last
            while place > 0 and tail[place - 1] > value:
                tail[place] = tail[place - 1]
                place -= 1
            tail[place] = value
            bound = tail[last]


@_compiled
def _of_rank(values, n):
    """The n-th least of some values."""
    found = _LARGEST
    for i in range(values.shape[0]):
        below, up_to = np.int32(0), np.int32(0)
        for k in range(values.shape[0]):
            below += np.int32(values[k] < values[i])
            up_to += np.int32(values[k] <= values[i])
        if below < n <= up_to:
            found = values[i]
    return found


@_compiled
def keep_outermost(values, lowest, highest, groups, chosen):
    """Put the lowest of values [K] into `lowest` [T] and the highest ones, negated, into `highest` [T].

    As many groups of the values as there are columns in groups [2, G >= T] have a least one each: the T-th least of
    these bounds the T lowest values, so few are left to be sorted. Chosen [2, K + 1] is room for those.
    """
    n_tail, n_groups = lowest.shape[0], groups.shape[1]
    low, high = min(lowest[n_tail - 1], _LARGEST), min(highest[n_tail - 1], _LARGEST)
    if values.shape[0] >= 2 * n_groups:
        least, most = groups[0], groups[1]
        least[:] = _LARGEST
        most[:] = _LARGEST
        for first in range(0, values.shape[0] - n_groups + 1, n_groups):
            part = values[first : first + n_groups]
            for k in range(n_groups):
                least[k] = min(least[k], part[k])
                most[k] = min(most[k], -part[k])
        low, high = min(low, _of_rank(least, n_tail)), min(high, _of_rank(most, n_tail))
    # Without a branch: what is not counted is overwritten. Far from the middle is what is low or high, rounding allowed for.
    middle = np.float32(0.5) * low - np.float32(0.5) * high
    far = -np.float32(0.5) * low - np.float32(0.5) * high - np.float32(1e-6) * (abs(low) + abs(high))
    below, above = chosen[0], chosen[1]
    n_far = 0
    for k in range(values.shape[0]):
        above[n_far] = values[k]
        n_far += np.int64(abs(values[k] - middle) >= far)
    n_below, n_above = 0, 0
    for k in range(n_far):
        value = above[k]  # read before its place, or an earlier one, is written
        below[n_below] = value
        n_below += np.int64(value <= low)
        above[n_above] = -value
        n_above += np.int64(-value <= high)
    _insert(lowest, below[:n_below])
    _insert(highest, above[:n_above])


@_compiled
def _far(row, own, gaussians, total):
    """Log of the summed densities of all classes over that of the own class, where one is beyond e^_FURTHEST."""
    mean, scale, constant = gaussians
    for k in range(row.shape[0]):
        top = np.float32(0.0)
        for c in range(mean.shape[0]):
            z = (row[k] - mean[c, k]) * scale[c, k]
            top = max(top, constant[c, k] - z * z - own[k])
        summed = np.float32(0.0)
        for c in range(mean.shape[0]):
            z = (row[k] - mean[c, k]) * scale[c, k]
            summed += exponential(constant[c, k] - z * z - own[k] - top)
        total[k] = top + logarithm(summed)


@_compiled
def rows(x, class_of, samples, gaussians, statistics):
    """Pointwise mutual information of samples (from, up to) on a block of directions, into their statistics.

    x float32 [N, K] are the projections. Gaussians: mean, scale and constant float32 [C, K], log of the prior [C].
    Statistics: how many directions are in them already, means and squared deviations float64 [N], lowest values and
    highest ones negated, float32 [N, T].
    """
    mean, scale, constant, log_prior = gaussians
    seen, means, squares, lowest, highest = statistics
    n_classes, n_directions = mean.shape
    pmi = np.empty(n_directions, np.float32)
    own_density, total, lead = np.empty((3, _TILE), np.float32)
    groups = np.empty((2, (lowest.shape[1] * 3 // 2 + 15) // 16 * 16), np.float32)
    chosen = np.empty((2, n_directions + 1), np.float32)
    for i in range(samples[0], samples[1]):
        own, prior = class_of[i], log_prior[class_of[i]]
        for first in range(0, n_directions, _TILE):
            stop = min(first + _TILE, n_directions)
            row, density, others = x[i, first:stop], own_density[: stop - first], total[: stop - first]
            mean_own, scale_own, constant_own = (
                mean[own, first:stop],
                scale[own, first:stop],
                constant[own, first:stop],
            )
            for k in range(stop - first):
                z = (row[k] - mean_own[k]) * scale_own[k]
                density[k] = constant_own[k] - z * z
            others[:] = np.float32(1.0)  # the own class over itself
            lead[:] = np.float32(0.0)
            for c in range(n_classes):
                if c != own:
                    mean_c, scale_c, constant_c = (
                        mean[c, first:stop],
                        scale[c, first:stop],
                        constant[c, first:stop],
                    )
                    for k in range(stop - first):
                        z = (row[k] - mean_c[k]) * scale_c[k]
                        value = constant_c[k] - z * z - density[k]
                        lead[k] = max(lead[k], value)
                        others[k] += exponential(min(value, _FURTHEST))
            n_far = np.int32(0)
            for k in range(_TILE):
                n_far += np.int32(lead[k] >= _FURTHEST)
            out = pmi[first:stop]
            if n_far == 0:
                for k in range(stop - first):
                    out[k] = -logarithm(others[k]) - prior
            else:
                of_all = (mean[:, first:stop], scale[:, first:stop], constant[:, first:stop])
                _far(row, density, of_all, others)
                for k in range(stop - first):
                    out[k] = -others[k] - prior
        block = 0.0
        for k in range(n_directions):
            block += np.float64(pmi[k])
        block /= n_directions
        square = 0.0
        for k in range(n_directions):
            deviation = np.float64(pmi[k]) - block
            square += deviation * deviation
        # Mean and squared deviations of two groups together (Chan, Golub and LeVeque 1983).
        step = block - means[i]
        squares[i] += square + step * step * (seen * n_directions / (seen + n_directions))
        means[i] += step * (n_directions / (seen + n_directions))
        keep_outermost(pmi, lowest[i], highest[i], groups, chosen)
