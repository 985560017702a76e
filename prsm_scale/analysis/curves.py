"""Laws of scale, as functions of the number of replicas n, and the law of latency over the load.

A law has parameters, which readers know, and coordinates, in which it is fitted: there a positive parameter
is its logarithm, and a straight line is its values at both ends of the data, so no step leaves its domain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Law(ABC):
    """A positive function of n with a few parameters.

    Where [...] stands, a method takes one set of parameters or coordinates, [k], or a stack of them.
    """

    name: str
    parameters: ClassVar[tuple[str, ...]]
    lower: ClassVar[Floats] = np.full(2, -np.inf)
    upper: ClassVar[Floats] = np.full(2, np.inf)

    @abstractmethod
    def start(self, nodes: Floats, values: Floats) -> Floats:
        """Give the coordinates, [k], from which to fit the law to `values`, [m], at `nodes`, [m]."""

    @abstractmethod
    def log_value(self, coordinates: Floats, nodes: Floats) -> tuple[Floats, Floats]:
        """Give the logarithm of the law, [m], and its derivatives by the coordinates, [m, k]."""

    @abstractmethod
    def to_parameters(self, coordinates: Floats) -> Floats:
        """Turn coordinates, [..., k], into parameters; complex ones too, which serve to differentiate."""

    @abstractmethod
    def predict(self, parameters: Floats, nodes: Floats) -> Floats:
        """Give the law's values, [..., m], from its parameters, [..., k]."""

    @abstractmethod
    def refit(self, parameters: Floats, nodes: Floats, deviations: Floats, weights: Floats) -> Floats:
        """Fit the law again to points that deviate a little from it.

        Every law here is linear in some form of its parameters, so a least-squares fit to first order in the
        deviations is one matrix product for all sets of points.

        Parameters
        ----------
        parameters
            [k], the law.
        nodes
            [m].
        deviations
            [r, m], relative deviations of the points from the law, one set of points a row.
        weights
            [m], factor of a relative deviation in the residuals.

        Returns
        -------
        ndarray
            [r, k], parameters for each set.
        """


class UniversalScalabilityLaw(Law):
    """X(n) = gamma n / (1 + alpha (n - 1) + beta n (n - 1)); Gunther, Guerrilla Capacity Planning, 2007."""

    name = "usl"
    parameters = ("alpha", "beta", "gamma")
    lower = np.array([0.0, 0.0, -np.inf])
    upper = np.array([1.0, 1.0, np.inf])

    def start(self, nodes: Floats, values: Floats) -> Floats:
        """See Law."""
        terms = _usl_terms(nodes) * (values / nodes)[:, None]
        constant, linear, square = _usl_least_squares(terms, np.ones((1, len(nodes))))[0]
        return np.array([linear / constant, square / constant, -np.log(constant)])

    def log_value(self, coordinates: Floats, nodes: Floats) -> tuple[Floats, Floats]:
        """See Law; coordinates are alpha, beta and ln gamma."""
        terms = _usl_terms(nodes)
        divisor = terms @ np.array([1.0, *coordinates[:2]])
        by = np.stack([-terms[:, 1] / divisor, -terms[:, 2] / divisor, terms[:, 0]], axis=1)
        return coordinates[2] + np.log(nodes / divisor), by

    def to_parameters(self, coordinates: Floats) -> Floats:
        """See Law."""
        return np.concatenate([coordinates[..., :2], np.exp(coordinates[..., 2:])], axis=-1)

    def predict(self, parameters: Floats, nodes: Floats) -> Floats:
        """See Law."""
        alpha, beta, gamma = (parameters[..., i, None] for i in range(3))
        value: Floats = gamma * nodes / (1 + alpha * (nodes - 1) + beta * nodes * (nodes - 1))
        return value

    def refit(self, parameters: Floats, nodes: Floats, deviations: Floats, weights: Floats) -> Floats:
        """See Law."""
        relative = (self.predict(parameters, nodes) / nodes * weights)[:, None]
        # A throughput that is larger makes n / X smaller; the floor keeps wild draws in the law's domain.
        targets = weights * np.maximum(1 - deviations, 0.01)
        fitted = _usl_least_squares(_usl_terms(nodes) * relative, targets)
        return np.concatenate([fitted[:, 1:], np.ones_like(fitted[:, :1])], axis=1) / fitted[:, :1]

    def peak(self, parameters: Floats) -> Floats:
        """Give the n >= 1 of the largest throughput, [...], infinite where there is none.

        That is sqrt((1 - alpha) / beta), or 1 where throughput falls from the first n on.
        """
        alpha, beta = parameters[..., 0], parameters[..., 1]
        return np.sqrt(np.maximum(np.divide(1 - alpha, beta, out=np.full_like(beta, np.inf), where=beta > 0), 1))


class LatencyLaw(Law):
    """A law that can be asked where it passes a multiple of its own value at the smallest n."""

    @abstractmethod
    def crossing(self, parameters: Floats, baseline: float, factor: float | Floats) -> Floats:
        """Give the n, [...], at which the law is `factor`, [] or [...], times its value at `baseline`, or infinity."""


class PowerLaw(LatencyLaw):
    """y(n) = coefficient n ** exponent; C n ** -k is the one with exponent -k."""

    name = "power"
    parameters = ("coefficient", "exponent")

    def start(self, nodes: Floats, values: Floats) -> Floats:
        """See Law."""
        exponent, log_coefficient = np.polyfit(np.log(nodes), np.log(values), 1)
        return np.array([log_coefficient, exponent])

    def log_value(self, coordinates: Floats, nodes: Floats) -> tuple[Floats, Floats]:
        """See Law; coordinates are ln coefficient and the exponent."""
        by = np.stack([np.ones_like(nodes), np.log(nodes)], axis=1)
        return by @ coordinates, by

    def to_parameters(self, coordinates: Floats) -> Floats:
        """See Law."""
        return np.concatenate([np.exp(coordinates[..., :1]), coordinates[..., 1:]], axis=-1)

    def predict(self, parameters: Floats, nodes: Floats) -> Floats:
        """See Law."""
        value: Floats = parameters[..., :1] * nodes ** parameters[..., 1:]
        return value

    def refit(self, parameters: Floats, nodes: Floats, deviations: Floats, weights: Floats) -> Floats:
        """See Law."""
        _, by = self.log_value(parameters, nodes)
        shift = _linear_least_squares(by, deviations, weights)
        with np.errstate(over="ignore"):  # wild draws around a few points; infinite then stands for an open end
            return np.stack([parameters[0] * np.exp(shift[:, 0]), parameters[1] + shift[:, 1]], axis=1)

    def crossing(self, parameters: Floats, baseline: float, factor: float | Floats) -> Floats:
        """See LatencyLaw."""
        exponent = parameters[..., 1]
        inverse = np.divide(1, exponent, out=np.full_like(exponent, np.inf), where=exponent > 0)
        with np.errstate(over="ignore"):
            value: Floats = baseline * factor**inverse
        return value


@dataclass(frozen=True)
class StraightLine(LatencyLaw):
    """y(n) = intercept + slope g(n), g the identity (linear) or the natural logarithm (logarithmic).

    Parameters
    ----------
    name
        "linear" or "logarithmic".
    smallest, largest
        Ends of the data, whose logarithmic values are the coordinates.
    """

    name: str
    smallest: float
    largest: float
    parameters = ("intercept", "slope")

    @property
    def _scale(self) -> Callable[[Floats], Floats]:
        return np.log if self.name == "logarithmic" else np.asarray

    def _share(self, nodes: Floats) -> Floats:
        low, high = self._scale(np.array([self.smallest, self.largest]))
        share: Floats = (self._scale(nodes) - low) / (high - low)
        return share

    def start(self, nodes: Floats, values: Floats) -> Floats:
        """See Law."""
        slope, intercept = np.polyfit(self._share(nodes), values, 1)
        ends = np.maximum([intercept, intercept + slope], 0.1 * np.min(values))
        return np.log(ends)

    def log_value(self, coordinates: Floats, nodes: Floats) -> tuple[Floats, Floats]:
        """See Law; coordinates are the logarithms of the values at the ends of the data."""
        share = self._share(nodes)
        parts = np.exp(coordinates) * np.stack([1 - share, share], axis=1)
        value = parts.sum(axis=1)
        return np.log(value), parts / value[:, None]

    def to_parameters(self, coordinates: Floats) -> Floats:
        """See Law."""
        low, high = self._scale(np.array([self.smallest, self.largest]))
        first, last = np.exp(coordinates[..., 0]), np.exp(coordinates[..., 1])
        slope = (last - first) / (high - low)
        return np.stack([first - slope * low, slope], axis=-1)

    def predict(self, parameters: Floats, nodes: Floats) -> Floats:
        """See Law."""
        value: Floats = parameters[..., :1] + parameters[..., 1:] * self._scale(nodes)
        return value

    def refit(self, parameters: Floats, nodes: Floats, deviations: Floats, weights: Floats) -> Floats:
        """See Law."""
        terms = np.stack([np.ones_like(nodes), self._scale(nodes)], axis=1)
        shift = _linear_least_squares(terms / (terms @ parameters)[:, None], deviations, weights)
        return parameters + shift

    def crossing(self, parameters: Floats, baseline: float, factor: float | Floats) -> Floats:
        """See LatencyLaw."""
        start = np.maximum(self.predict(parameters, np.array([baseline]))[..., 0], 0)
        slope = parameters[..., 1]
        rise = np.divide((factor - 1) * start, slope, out=np.full_like(slope, np.inf), where=slope > 0)
        with np.errstate(over="ignore"):
            return baseline * np.exp(rise) if self.name == "logarithmic" else baseline + rise


class QueueingLaw(Law):
    """Mean latency R(rho) = L0 + a rho / (2 (1 - rho)), over the load rho > 0 in place of n.

    L0 is the latency of an idle system. The second term is the mean wait in an M/G/1 queue (Pollaczek and Khinchine), where a is
    E[S^2] / E[S] of its service time S; in an M/D/1 queue that is the service time itself.
    """

    name = "queueing"
    parameters = ("base_latency_ms", "wait_scale_ms")
    lower = np.zeros(2)

    def start(self, nodes: Floats, values: Floats) -> Floats:
        """See Law."""
        terms = _queueing_terms(nodes) / values[:, None]
        best: Floats = _nonnegative_least_squares(terms, np.ones((1, len(nodes))))[0]
        return best

    def log_value(self, coordinates: Floats, nodes: Floats) -> tuple[Floats, Floats]:
        """See Law; coordinates are the parameters."""
        terms = _queueing_terms(nodes)
        value = terms @ coordinates
        return np.log(value), terms / value[:, None]

    def to_parameters(self, coordinates: Floats) -> Floats:
        """See Law."""
        return coordinates

    def predict(self, parameters: Floats, nodes: Floats) -> Floats:
        """See Law."""
        value: Floats = parameters @ _queueing_terms(nodes).T
        return value

    def refit(self, parameters: Floats, nodes: Floats, deviations: Floats, weights: Floats) -> Floats:
        """See Law."""
        terms = _queueing_terms(nodes) * (weights / self.predict(parameters, nodes))[:, None]
        return _nonnegative_least_squares(terms, weights * (1 + deviations))

    def knee(self, parameters: Floats) -> Floats:
        """Give the load, [...], at which power, throughput over latency, is greatest.

        Throughput is rho times the capacity, so power is greatest where rho / R is. There R = rho R', and the tangent goes
        through the origin (Kleinrock, Power and deterministic rules of thumb for probabilistic problems in computer
        communications, ICC 1979). With R = L0 + a rho / (2 (1 - rho)) this reads L0 (1 - rho)^2 = (a / 2) rho^2, so that
        rho = 1 / (1 + sqrt(a / (2 L0))): 1/2 for M/M/1, 0.586 for M/D/1, and 1 where nothing waits.
        """
        base, scale = parameters[..., 0], parameters[..., 1]
        ratio = np.divide(scale, 2 * base, out=np.full_like(base, np.inf), where=base > 0)
        knee: Floats = 1 / (1 + np.sqrt(ratio))
        return knee


def _linear_least_squares(terms: Floats, targets: Floats, weights: Floats) -> Floats:
    """Solve weighted least squares for each row of targets, [r, m] -> [r, k]."""
    solution: Floats = (targets * weights) @ np.linalg.pinv(terms * weights[:, None]).T
    return solution


def _usl_terms(nodes: Floats) -> Floats:
    """Give the terms that n / X is linear in, [m, 3], with factors 1, alpha and beta over gamma."""
    return np.stack([np.ones_like(nodes), nodes - 1, nodes * (nodes - 1)], axis=1)


def _usl_least_squares(terms: Floats, targets: Floats) -> Floats:
    """Find the factors of the terms, [r, 3], for each row of targets, with 0 <= alpha, beta <= 1.

    The solution is the best one with some of alpha and beta free and the others at a bound, so all nine cases
    are solved, and the best is kept of those that lie in the bounds.
    """
    best = np.zeros((len(targets), 3))
    least = np.full(len(targets), np.inf)
    for alpha, beta in product((None, 0.0, 1.0), repeat=2):
        directions = [[1.0, alpha or 0.0, beta or 0.0]]
        directions += [[0.0, 1.0, 0.0]] * (alpha is None) + [[0.0, 0.0, 1.0]] * (beta is None)
        basis = np.array(directions)
        factors = targets @ np.linalg.pinv(terms @ basis.T).T @ basis
        squares = np.sum((factors @ terms.T - targets) ** 2, axis=1)
        inside = (factors >= 0).all(axis=1) & (factors[:, 1:] <= factors[:, :1]).all(axis=1)
        better = inside & (squares < least)
        best[better], least[better] = factors[better], squares[better]
    return best


def _queueing_terms(loads: Floats) -> Floats:
    """Give the terms that the queueing law is linear in, [m, 2], with factors L0 and a."""
    return np.stack([np.ones_like(loads), loads / (2 * (1 - loads))], axis=1)


def _nonnegative_least_squares(terms: Floats, targets: Floats) -> Floats:
    """Find the factors of two terms, [r, 2], for each row of targets, neither of them negative.

    Where the best factors are not both allowed, one is 0, and the better of the two such solutions is the best.
    """
    free = targets @ np.linalg.pinv(terms).T
    alone = np.maximum(targets @ terms, 0) / np.sum(terms**2, axis=0)
    # What a term alone takes off the sum of squares is its factor squared times its own.
    first_is_better = np.diff(alone**2 * np.sum(terms**2, axis=0), axis=1) <= 0
    bounded = alone * np.concatenate([first_is_better, ~first_is_better], axis=1)
    return np.where((free >= 0).all(axis=1, keepdims=True), free, bounded)
