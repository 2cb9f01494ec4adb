# SPDX-License-Identifier: Apache-2.0
"""What is made of the samples of many rounds: medians, quartiles, and ratios within a round."""

import statistics

BASE = "raw io_uring"


def quartiles(values):
    """(first quartile, median, third quartile), each value counted inclusively."""
    values = sorted(values)
    if not values:
        raise ValueError("no values")
    if len(values) == 1:
        return values[0], values[0], values[0]
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, median, third


def ratio(samples, base):
    """Median of the ratios of two lists of samples, each to the one of the same round.

    A round that one of them lacks (None) or whose base is 0 counts not; None if none is left.
    """
    pairs = [(s, b) for s, b in zip(samples, base) if s is not None and b]
    return statistics.median(s / b for s, b in pairs) if pairs else None


def records(suite, workload, rounds, base=BASE):
    """Records of one workload. `rounds`: a list, for each round {contestant: {metric: value}}."""
    names = {}
    for one in rounds:
        for contestant, metrics in one.items():
            for metric in metrics:
                names.setdefault((contestant, metric))

    def column(contestant, metric):
        return [one.get(contestant, {}).get(metric) for one in rounds]

    result = []
    for contestant, metric in names:
        samples = column(contestant, metric)
        known = [value for value in samples if value is not None]
        if not known:
            continue
        q1, median, q3 = quartiles(known)
        result.append({
            "suite": suite,
            "workload": workload,
            "contestant": contestant,
            "metric": metric,
            "median": median,
            "q1": q1,
            "q3": q3,
            "ratio_to_raw": ratio(samples, column(base, metric)),
            "rounds": len(known),
        })
    return result


def per(amount, divisor):
    return amount / divisor if divisor > 0 else None
