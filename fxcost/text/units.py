"""Numbers for people: decimal prefixes for counts, binary ones for bytes. Exact integers are for JSON and CSV."""

from __future__ import annotations

SI_PREFIXES = ("", "K", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
NOTHING = "–"
"""What a table shows where there is no number to show."""


def count(n: int) -> str:
    """A count with a decimal prefix and two decimals; below 1,000 the count itself.

    >>> count(4_089_184_256), count(999), count(999_999), count(0)
    ('4.09 G', '999', '1.00 M', '0')
    """
    return _scaled(n, 1000, SI_PREFIXES)


def byte_size(n: int) -> str:
    """Bytes with a binary unit and two decimals.

    >>> byte_size(102_228_128), byte_size(1023), byte_size(1024)
    ('97.49 MiB', '1023 B', '1.00 KiB')
    """
    return _scaled(n, 1024, BINARY_UNITS)


def _scaled(n: int, base: int, units: tuple[str, ...]) -> str:
    """`n` in the unit that leaves less than `base` after rounding, in integers, so exact at any size."""
    if abs(n) < base:
        return f"{n} {units[0]}".rstrip()
    size, power, hundredths = abs(n), 0, 0
    while power + 1 < len(units) and (power == 0 or hundredths >= 100 * base):
        power += 1
        unit = base**power
        hundredths = (200 * size + unit) // (2 * unit)
    sign = "-" if n < 0 else ""
    return f"{sign}{hundredths // 100}.{hundredths % 100:02} {units[power]}"


def named_amount(name: str, n: int) -> str:
    """An exact number, with its size in a binary unit if its name is one of bytes.

    >>> named_amount("peak_bytes", 1536), named_amount("macs", 1536)
    ('1,536 (1.50 KiB)', '1,536')
    """
    return f"{exact(n)} ({byte_size(n)})" if "bytes" in name else exact(n)


def exact(n: int) -> str:
    """An integer with its thousands apart.

    >>> exact(25557032)
    '25,557,032'
    """
    return f"{n:,}"


def percent(part: int, whole: int) -> str:
    """A share with one decimal; "<0.1%" for what is small but not nothing.

    >>> percent(1, 8), percent(1, 10**6), percent(0, 8), percent(3, 0)
    ('12.5%', '<0.1%', '0.0%', '–')
    """
    if not whole:
        return NOTHING
    if 0 < 1000 * part < whole:
        return "<0.1%"
    return f"{100 * part / whole:.1f}%"


def ratio(value: float) -> str:
    """A quotient, such as FLOPs per byte, with two decimals.

    >>> ratio(12.345)
    '12.35'
    """
    return f"{value:.2f}"


def shape(dims: tuple[int, ...]) -> str:
    """A tensor's shape.

    >>> shape((1, 3, 224, 224)), shape(())
    ('1×3×224×224', 'scalar')
    """
    return "×".join(map(str, dims)) or "scalar"


def plural(n: int, noun: str) -> str:
    """A number and its noun.

    >>> plural(1, "node"), plural(2, "node")
    ('1 node', '2 nodes')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def seconds(value: float) -> str:
    """A time with three significant digits.

    >>> seconds(0.01234), seconds(1.5), seconds(2.5e-7), seconds(0.0), seconds(999.6e-6)
    ('12.3 ms', '1.50 s', '250 ns', '0 s', '1.00 ms')
    """
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if value >= 0.9995 * size:
            return f"{_three(value / size)} {unit}"
    return f"{_three(value / 1e-9)} ns" if value else "0 s"


def rate(value: float, unit: str) -> str:
    """A speed with a decimal prefix and three significant digits.

    >>> rate(312e12, "FLOPS"), rate(2.039e12, "B/s"), rate(0.0, "FLOPS")
    ('312 TFLOPS', '2.04 TB/s', '0 FLOPS')
    """
    power = 0
    while value >= 999.5 and power + 1 < len(SI_PREFIXES):
        value, power = value / 1000, power + 1
    return f"{_three(value)} {SI_PREFIXES[power]}{unit}" if value else f"0 {unit}"


def _three(value: float) -> str:
    """Three significant digits, for 0.001 up to 1,000."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def share(value: float) -> str:
    """A quotient as a percentage with one decimal; "<0.1%" for what is small but not nothing.

    >>> share(0.125), share(1e-6), share(0.0), share(1.5)
    ('12.5%', '<0.1%', '0.0%', '150.0%')
    """
    return "<0.1%" if 0 < value < 0.001 else f"{100 * value:.1f}%"
