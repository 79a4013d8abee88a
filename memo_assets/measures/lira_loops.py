"""The loops of LiRA over models and samples, compiled: logit gaps, Gaussians of two groups, leave one out.

Here belong loops that numpy would spread over many passes and copies. What the numbers mean, and the checks of what is
given, are in `lira.py`. Arrays of models and samples are read in blocks of samples whose moments stay near the processor.
"""

import numpy as np

from memo_assets.measures.compiled import compiled

_BLOCK = 512  # samples at a time


@compiled()
def gaps(logits, labels, padding, out):
    """Own logit minus the largest other one into `out` [M, N]; whether each has both, above `padding` and finite.

    logits [M, N, C]; labels [N], each an index of C.
    """
    usable = True
    n_models, n_samples, n_options = logits.shape
    for model in range(n_models):
        of_model, gaps_of_model = logits[model], out[model]
        for sample in range(n_samples):
            options = of_model[sample]
            own = options[labels[sample]]
            # The two largest, without a branch: which option is largest cannot be foretold. The sum is nan where any is.
            first = second = total = np.float32(-np.inf)
            for option in range(n_options):
                value = options[option]
                lower = min(first, value)
                first = max(first, value)
                second = max(second, lower)
                total += value
            other = second if own == first else first
            usable &= (
                own > padding and own < np.inf and other > padding and other < np.inf and not np.isnan(total)
            )
            gaps_of_model[sample] = own - other
    return usable


@compiled()
def moments(values, member, left_out, count, moments_out):
    """Count [2, N], and mean and population sd [2, 2, N], of values [S, N] out (row 0) and in (row 1) of a group.

    member bool [S, N]; the row `left_out` counts in neither group (-1: none does). Values are taken relative to the first
    of their group: nothing cancels, and equal values have an sd of exactly 0. Empty groups have mean and sd 0.
    """
    mean, sd = moments_out
    n_models, n_samples = values.shape
    n_others = n_models - (left_out >= 0)
    for start in range(0, n_samples, _BLOCK):
        end = min(start + _BLOCK, n_samples)
        width = end - start
        n_in, origin, offset, squares = (
            np.zeros(width),
            np.zeros((2, width)),
            np.zeros((2, width)),
            np.zeros((2, width)),
        )
        for i in range(width):
            for side in range(2):
                for model in range(n_models):
                    if model != left_out and member[model, start + i] == (side == 1):
                        origin[side, i] = values[model, start + i]
                        break
        for model in range(n_models):
            if model != left_out:
                _add_offsets(values[model, start:end], member[model, start:end], origin, offset, n_in)
        for i in range(width):
            count[1, start + i] = np.int64(n_in[i])
            count[0, start + i] = n_others - count[1, start + i]
            for side in range(2):
                offset[side, i] /= max(count[side, start + i], 1)
        for model in range(n_models):
            if model != left_out:
                _add_squares(values[model, start:end], member[model, start:end], origin, offset, squares)
        for side in range(2):
            for i in range(width):
                mean[side, start + i] = origin[side, i] + offset[side, i]
                sd[side, start + i] = np.sqrt(squares[side, i] / max(count[side, start + i], 1))


@compiled()
def _add_offsets(of_model, inside, origin, offset, n_in):
    """Add values [N] relative to their group's origin [2, N] to its sum, without a branch; count those inside."""
    out_origin, in_origin, out_offset, in_offset = origin[0], origin[1], offset[0], offset[1]
    for i in range(len(of_model)):
        value = np.float64(of_model[i])
        out_offset[i] += 0.0 if inside[i] else value - out_origin[i]
        in_offset[i] += value - in_origin[i] if inside[i] else 0.0
        n_in[i] += 1.0 if inside[i] else 0.0


@compiled()
def _add_squares(of_model, inside, origin, offset, squares):
    """Add squared deviations of values [N] from their group's mean, origin and offset [2, N], to its sum."""
    out_origin, in_origin, out_offset, in_offset = origin[0], origin[1], offset[0], offset[1]
    out_squares, in_squares = squares[0], squares[1]
    for i in range(len(of_model)):
        value = np.float64(of_model[i])
        out_apart, in_apart = value - out_origin[i] - out_offset[i], value - in_origin[i] - in_offset[i]
        out_squares[i] += 0.0 if inside[i] else out_apart * out_apart
        in_squares[i] += in_apart * in_apart if inside[i] else 0.0


@compiled()
def _merged(one, other):
    """Count, mean and squared deviations of two sets together (Chan, Golub, LeVeque 1979)."""
    count, mean, squares = one
    other_count, other_mean, other_squares = other
    total = count + other_count
    if total == 0.0:
        return 0.0, 0.0, 0.0
    apart = other_mean - mean
    share = other_count / total
    return total, mean + apart * share, squares + other_squares + apart * apart * count * share


@compiled()
def leave_one_out(scores, member, fixed_sd, place, out):
    """Log-ratio of each wanted model's score, averaged over queries, into `out` [N, T].

    scores [N, S, A], member bool [N, S]; the Gaussians out and in are those of the other models: moments of the models
    before it merged with moments of those after it. fixed_sd [2, S] replaces their sd where it has any model. place [S]: a
    model's column in `out`, -1 where it is not wanted. nan where a group is empty or has no spread.
    """
    n_samples, n_models, n_queries = scores.shape
    fixed = fixed_sd.shape[1] > 0
    before = np.empty((2, n_models, 3))
    for sample in range(n_samples):
        for column in range(out.shape[1]):
            out[sample, column] = 0.0
        for query in range(n_queries):
            for side in range(2):
                running = (0.0, 0.0, 0.0)
                for model in range(n_models):
                    before[side, model, 0] = running[0]
                    before[side, model, 1] = running[1]
                    before[side, model, 2] = running[2]
                    if np.intp(member[sample, model]) == side:
                        running = _merged(running, (1.0, scores[sample, model, query], 0.0))
                running = (0.0, 0.0, 0.0)
                for model in range(n_models - 1, -1, -1):
                    score = scores[sample, model, query]
                    if place[model] >= 0:
                        earlier = before[side, model]
                        count, mean, squares = _merged((earlier[0], earlier[1], earlier[2]), running)
                        sd = np.nan
                        if fixed:
                            sd = fixed_sd[side, model]
                        elif count > 1:
                            sd = np.sqrt(squares / (count - 1))
                        density = np.nan
                        if count > 0 and sd > 0:
                            z = (score - mean) / sd
                            density = -np.log(sd) - 0.5 * z * z
                        out[sample, place[model]] += density if side == 1 else -density
                    if np.intp(member[sample, model]) == side:
                        running = _merged(running, (1.0, score, 0.0))
        for column in range(out.shape[1]):
            out[sample, column] /= n_queries
