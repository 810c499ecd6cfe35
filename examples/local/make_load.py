#!/usr/bin/env python3
"""Prints load_1s.csv: three minutes that rise, stay above what the budget carries, burst, and fall.

    python3 examples/local/make_load.py > examples/local/load_1s.csv

The budget of mock.yaml is 400 requests a minute: 6.7 a second. Random arrivals (Poisson) around the rate, from a fixed seed.
"""

import math
import random


def rate(second: int) -> float:
    """Requests a second."""
    if second < 45:
        return 0.5 + 7.5 * second / 45
    if second < 105:
        return 8
    if second < 115:
        return 18
    return max(4 * math.exp(-(second - 115) / 15), 2)


def poisson(dice: random.Random, mean: float) -> int:
    """Knuth's method: fine for small means."""
    limit, count, product = math.exp(-mean), 0, dice.random()
    while product > limit:
        count += 1
        product *= dice.random()
    return count


def main() -> None:
    dice = random.Random(2026)
    print("second,requests,input_tokens,output_tokens")
    for second in range(180):
        requests = poisson(dice, rate(second))
        tokens = [(dice.randint(50, 600), dice.randint(60, 200)) for _ in range(requests)]
        print(f"{second},{requests},{sum(t[0] for t in tokens)},{sum(t[1] for t in tokens)}")


if __name__ == "__main__":
    main()
