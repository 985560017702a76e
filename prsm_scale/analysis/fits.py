"""Fitting laws of scale and of load: Universal Scalability Law, power law, straight lines and queueing, with intervals and flags.

Laws are fitted by least squares on logarithms, so that every point counts by its relative misfit. Points
weigh alike: on a sweep the misfit of the law is larger than the sampling error, and weights by sampling error
would give the curve to the few points that happen to be known best. Sampling errors enter the intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from prsm_scale.analysis.curves import (
    Floats,
    LatencyLaw,
    Law,
    PowerLaw,
    QueueingLaw,
    StraightLine,
    UniversalScalabilityLaw,
)
from prsm_scale.errors import UsageError

BOOTSTRAP_REPLICATES = 999
BOOTSTRAP_SEED = 1
POOR_FIT = 0.1
"""Root mean square of log residuals from which a fit is flagged as poor: a misfit of about 10 %."""

_Fit = TypeVar("_Fit", bound="LawFit")
_TAILS = (0.025, 0.975)
_FARTHEST_N = 1e6  # no engine goes further, so a law that bends beyond it bends nowhere that matters
_TIGHT = 1e-15  # as near to the solution as floating point goes, as valleys of the law are flat
_EXACT = 1e-9  # relative misfit below which laws count as equally good


@dataclass(frozen=True, eq=False)
class LawFit:
    """A law fitted to points over n.

    Parameters
    ----------
    law
        The law, by which values are predicted.
    nodes
        float64[m], n of the points, ascending.
    parameters
        Value by name of the parameter; empty where there were fewer points than parameters.
    standard_errors
        From the curvature of the sum of squares at the solution; empty with no degree of freedom left.
    intervals
        95 % bootstrap percentile interval by name; empty where nothing tells the points' errors.
    aicc
        Corrected Akaike criterion on log residuals; None with too few points or residuals not on logarithms.
    rmse_log
        Root mean square of the differences of logarithms.
    flags
        What to beware of: too_few_points, poor_fit, a parameter's name and _at_bound, peak_outside_data.
    replicates
        float64[r, k], parameters of the bootstrap's refits; r is 0 where there are no intervals.
    """

    law: Law
    nodes: Floats
    parameters: dict[str, float] = field(default_factory=dict)
    standard_errors: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    aicc: float | None = None
    rmse_log: float | None = None
    flags: tuple[str, ...] = ()
    replicates: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False)

    @property
    def values(self) -> Floats:
        """float64[k], the parameters in the law's order."""
        return np.array([self.parameters[name] for name in self.law.parameters])

    def predict(self, nodes: ArrayLike) -> Floats:
        """Give the law's values at `nodes`, float64 of the same length."""
        return self.law.predict(self.values, np.atleast_1d(np.asarray(nodes, dtype=np.float64)))

    def derive(self, quantity: Callable[[Floats], Floats]) -> Estimate:
        """Estimate a quantity that follows from the parameters, [..., k] -> [...], with its interval."""
        if not self.parameters:
            return Estimate(None, None, None)
        low, high = _percentiles(quantity(self.replicates)) if len(self.replicates) else (np.inf, np.inf)
        return Estimate(*(_within_reach(float(value)) for value in (quantity(self.values), low, high)))


@dataclass(frozen=True)
class Estimate:
    """A number of nodes and its 95 % interval; None as an end leaves it open, None as the value says none."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class UslFit(LawFit):
    """A fit of the Universal Scalability Law; see LawFit."""

    law: UniversalScalabilityLaw

    @property
    def peak(self) -> Estimate:
        """The n >= 1 of the largest throughput, sqrt((1 - alpha) / beta) or 1, with its interval."""
        return self.derive(self.law.peak)

    @property
    def peak_n(self) -> float | None:
        """The n of the largest throughput; None where the law has none."""
        return self.peak.value

    @property
    def peak_throughput(self) -> float | None:
        """Throughput the law gives at `peak_n`."""
        return None if self.peak_n is None else float(self.predict(self.peak_n)[0])

    @property
    def limit(self) -> float | None:
        """Throughput that contention alone would allow for, gamma / alpha; None where alpha is 0."""
        alpha = self.parameters.get("alpha")
        return self.parameters["gamma"] / alpha if alpha else None


def fit_usl(nodes: ArrayLike, throughput: ArrayLike, relative_error: ArrayLike | None = None, log: bool = False) -> UslFit:
    """Fit the Universal Scalability Law in its three parameters.

    Parameters
    ----------
    nodes, throughput
        [m], n and positive throughput.
    relative_error
        [m], standard error of each throughput divided by it, where known; widens the intervals.
    log
        Whether residuals are differences of logarithms, as AICc needs; by default they are differences of
        throughput, from which published coefficients come (R package usl).

    Raises
    ------
    UsageError
        If a value is not positive and finite, or lengths differ.
    """
    return _fit(UniversalScalabilityLaw(), UslFit, nodes, throughput, relative_error, log)


def fit_usl_linear(nodes: ArrayLike, throughput: ArrayLike) -> UslFit:
    """Fit the Universal Scalability Law as a parabola through the origin, after Gunther's older practice.

    With C = X / X(1), regresses n / C - 1 on n - 1: beta x^2 + (alpha + beta) x. No bounds, no intervals.

    Raises
    ------
    UsageError
        If there is no point at n = 1, or a value is not positive and finite.
    """
    n, x, _ = _checked(nodes, throughput, None)
    if n[0] != 1:
        raise UsageError("nodes", n[0], "points that start at n = 1, to which throughput is normalised")
    terms = np.stack([(n - 1) ** 2, n - 1], axis=1)
    beta, slope = np.linalg.lstsq(terms, n * x[0] / x - 1)[0]
    parameters = {"alpha": float(slope - beta), "beta": float(beta), "gamma": float(x[0])}
    return UslFit(UniversalScalabilityLaw(), n, parameters)


def fit_power(nodes: ArrayLike, values: ArrayLike, relative_error: ArrayLike | None = None) -> LawFit:
    """Fit y = coefficient n ** exponent on logarithms; parameters and errors as in `fit_usl`."""
    return _fit(PowerLaw(), LawFit, nodes, values, relative_error, log=True)


def fit_line(nodes: ArrayLike, values: ArrayLike, relative_error: ArrayLike | None = None, logarithmic: bool = False) -> LawFit:
    """Fit y = intercept + slope n, or ln n, by relative misfit; parameters and errors as in `fit_usl`."""
    n, _, _ = _checked(nodes, values, relative_error)
    law = StraightLine("logarithmic" if logarithmic else "linear", float(n[0]), float(n[-1]))
    return _fit(law, LawFit, nodes, values, relative_error, log=True)


@dataclass(frozen=True, eq=False)
class QueueingFit(LawFit):
    """A fit of mean latency over the load, which takes the place of n; see LawFit."""

    law: QueueingLaw

    @property
    def knee(self) -> Estimate:
        """The load at which throughput over latency is greatest, with its interval."""
        return self.derive(self.law.knee)

    @property
    def knee_latency_ms(self) -> float | None:
        """Latency that the law gives at the knee, L0 + sqrt(L0 a / 2)."""
        if not self.parameters:
            return None
        base, scale = self.values
        return float(base + np.sqrt(base * scale / 2))


def fit_queueing(loads: ArrayLike, latency_ms: ArrayLike, relative_error: ArrayLike | None = None) -> QueueingFit:
    """Fit mean latency over the load, L0 + a rho / (2 (1 - rho)), on logarithms; parameters and errors as in `fit_usl`.

    Raises
    ------
    UsageError
        If a load is not between 0 and 1, or a latency is not positive and finite.
    """
    rho = np.asarray(loads, dtype=np.float64)
    if (rho >= 1).any():
        raise UsageError("loads", float(rho.max()), "loads below 1, where a mean exists")
    return _fit(QueueingLaw(), QueueingFit, rho, latency_ms, relative_error, log=True)


def choose(fits: Sequence[LawFit]) -> int | None:
    """Give the index of the fit with the smallest AICc, the first of equals; None where none has one."""
    known = [(fit.aicc, index) for index, fit in enumerate(fits) if fit.aicc is not None]
    return min(known)[1] if known else None


def telling(fits: Sequence[LawFit]) -> LawFit | None:
    """Give the law to speak of: the chosen one, or with too few points to choose by, the closest of the simplest.

    A law that has as many parameters as there are points fits any, and tells nothing: None where all are such.
    """
    chosen = choose(fits)
    ranked = [(place != chosen, len(fit.parameters), fit.rmse_log or 0.0, place) for place, fit in enumerate(fits)]
    known = [rank for rank, fit in zip(ranked, fits, strict=True) if len(fit.nodes) > len(fit.parameters) > 0]
    return fits[min(known)[-1]] if known else None


def crossing(fit: LawFit, factor: float) -> Estimate:
    """Estimate the n at which a latency law is `factor` times its own value at the smallest n.

    Raises
    ------
    TypeError
        If the fitted law is no latency law.
    """
    law = fit.law
    if not isinstance(law, LatencyLaw):
        raise TypeError(f"{law.name} is no law of latency")
    return fit.derive(lambda parameters: law.crossing(parameters, float(fit.nodes[0]), factor))


def _fit(
    law: Law,
    kind: type[_Fit],
    nodes: ArrayLike,
    values: ArrayLike,
    relative_error: ArrayLike | None,
    log: bool,
) -> _Fit:
    n, y, error = _checked(nodes, values, relative_error)
    count, size = len(n), len(law.parameters)
    if len(np.unique(n)) < size:
        return kind(law, n, flags=("too_few_points",))
    target = np.log(y) if log else y
    coordinates = _least_squares(law, n, y, target, log)
    fitted, by = _on_scale(law, coordinates, n, log)
    squares = float(np.sum((fitted - target) ** 2))
    rmse_log = float(np.sqrt(np.mean((law.log_value(coordinates, n)[0] - np.log(y)) ** 2)))
    replicates = _bootstrap(law, n, coordinates, squares, error, log)
    ends = np.stack(_percentiles(replicates), axis=1) if len(replicates) else np.empty((0, 2))
    aicc = _aicc(squares, count, size) if log else None
    fit = kind(
        law,
        n,
        parameters=_named(law, law.to_parameters(coordinates)),
        standard_errors=_named(law, _standard_errors(law, coordinates, by, squares)),
        intervals={name: (float(low), float(high)) for name, (low, high) in zip(law.parameters, ends, strict=False)},
        aicc=aicc,
        rmse_log=rmse_log,
        replicates=replicates,
    )
    return replace(fit, flags=_flags(fit, coordinates))


def _checked(nodes: ArrayLike, values: ArrayLike, relative_error: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    """Sort the points by n; an error that is unknown (None, NaN) becomes 0."""
    n, y = np.asarray(nodes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    error = np.zeros_like(y) if relative_error is None else np.asarray(relative_error, dtype=np.float64)
    if n.ndim != 1 or len(n) == 0 or not n.shape == y.shape == error.shape:
        raise UsageError("points", [n.shape, y.shape, error.shape], "one value, and one error, for each n")
    for name, array in (("nodes", n), ("values", y)):
        wrong = array[~(np.isfinite(array) & (array > 0))]
        if len(wrong):
            raise UsageError(name, float(wrong[0]), "positive finite numbers")
    order = np.argsort(n, kind="stable")
    return n[order], y[order], np.nan_to_num(error[order], nan=0.0, posinf=0.0)


def _on_scale(law: Law, coordinates: Floats, nodes: Floats, log: bool) -> tuple[Floats, Floats]:
    """Give the law, [m], and its derivatives, [m, k], on the scale of the residuals."""
    value, by = law.log_value(coordinates, nodes)
    return (value, by) if log else (np.exp(value), np.exp(value)[:, None] * by)


def _least_squares(law: Law, nodes: Floats, values: Floats, target: Floats, log: bool) -> Floats:
    """Find the best coordinates, float64[k]."""

    def residuals(coordinates: Floats) -> Floats:
        return _on_scale(law, coordinates, nodes, log)[0] - target

    def derivatives(coordinates: Floats) -> Floats:
        return _on_scale(law, coordinates, nodes, log)[1]

    start = law.start(nodes, values)
    from scipy.optimize import least_squares

    solution: Floats = least_squares(
        residuals,
        start,
        derivatives,
        bounds=(law.lower, law.upper),
        x_scale="jac",
        ftol=_TIGHT,
        xtol=_TIGHT,
        gtol=_TIGHT,
    ).x
    best = min((start, solution), key=lambda coordinates: float(np.sum(residuals(coordinates) ** 2)))
    # The method stops just short of a bound: go there where that is the same curve.
    for bound in (law.lower, law.upper):
        moved = np.where(np.abs(best - bound) < 1e-6, bound, best)
        shift = law.log_value(moved, nodes)[0] - law.log_value(best, nodes)[0]
        best = moved if np.max(np.abs(shift)) < _EXACT else best
    return best


def _standard_errors(law: Law, coordinates: Floats, by: Floats, squares: float) -> Floats:
    count, size = by.shape
    if count <= size:
        return np.empty(0)
    # Derivatives of the parameters by complex steps, which are exact for functions as smooth as these.
    steps = coordinates + 1e-20j * np.eye(size)
    chain = np.imag(law.to_parameters(steps)).T / 1e-20
    covariance = np.linalg.pinv(by.T @ by) * squares / (count - size)
    return np.sqrt(np.diag(chain @ covariance @ chain.T))


def _bootstrap(law: Law, nodes: Floats, coordinates: Floats, squares: float, error: Floats, log: bool) -> Floats:
    """Refit the law to points drawn around it: float64[r, k], r = 0 where nothing tells their errors.

    The spread of the residuals is itself known from a few points only, so each replicate draws it from its
    own law, s^2 nu / chi^2 with nu degrees of freedom: a parameter that points are linear in gets Student's t
    interval. A point whose known sampling error is larger is drawn with that.
    """
    free = len(nodes) - len(coordinates)
    if free == 0 and not error.any():
        return np.empty((0, len(coordinates)))
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    noise = rng.standard_normal((BOOTSTRAP_REPLICATES, len(nodes)))
    spread = np.sqrt(squares / rng.chisquare(free, (BOOTSTRAP_REPLICATES, 1))) if free else 0.0
    parameters = law.to_parameters(coordinates)
    weights = np.ones_like(nodes) if log else law.predict(parameters, nodes)
    return law.refit(parameters, nodes, noise * np.maximum(spread / weights, error), weights)


def _aicc(squares: float, count: int, size: int) -> float | None:
    estimated = size + 1  # the parameters, and the variance of the residuals
    if count <= estimated + 1:
        return None
    penalty = 2 * estimated + 2 * estimated * (estimated + 1) / (count - estimated - 1)
    return count * float(np.log(max(squares / count, _EXACT**2))) + penalty


def _flags(fit: LawFit, coordinates: Floats) -> tuple[str, ...]:
    law, rmse_log = fit.law, fit.rmse_log or 0.0
    flags = {
        "too_few_points": len(fit.nodes) <= len(law.parameters) + 2,
        "poor_fit": rmse_log >= POOR_FIT,
    }
    for place, name in enumerate(law.parameters):
        flags[f"{name}_at_bound"] = coordinates[place] in (law.lower[place], law.upper[place])
    if isinstance(fit, UslFit):
        peak = float(fit.law.peak(fit.values))
        flags["peak_outside_data"] = not fit.nodes[0] <= peak <= fit.nodes[-1]
    return tuple(name for name, raised in flags.items() if raised)


def _percentiles(values: Floats) -> tuple[Floats, Floats]:
    # "nearest" because a mean of two infinite values, which stand for an open end, is no number.
    low, high = np.quantile(values, _TAILS, axis=0, method="nearest")
    return low, high


def _within_reach(nodes: float) -> float | None:
    return nodes if nodes <= _FARTHEST_N else None


def _named(law: Law, values: Floats) -> dict[str, float]:
    return {name: float(value) for name, value in zip(law.parameters, values, strict=False)}
