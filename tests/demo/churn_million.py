#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A million connections leave nothing behind; run by hand on a release build, takes minutes.

usage: tests/demo/churn_million.py --echo build/examples/sluice-echo --load build/bench/sluice-load
       [--cycles N]
"""

import churn
import demo

MILLION, ROUNDS = 1_000_000, 10

if __name__ == "__main__":
    demo.main(__doc__, [
        ("a million connections",
         lambda settings: churn.cycles(settings, count=settings.cycles or MILLION, rounds=ROUNDS)),
    ])
