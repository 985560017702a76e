"""What a scaling test is: one configuration, and the scenarios that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from itertools import islice, product
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from prsm_scale.axes import Environment as ScalingEnvironment
from prsm_scale.axes import Network as NetworkCondition
from prsm_scale.axes import Profile as ResourceProfile
from prsm_scale.axes import Topology as NetworkTopology
from prsm_scale.axes import choice
from prsm_scale.behaviours import Behaviour
from prsm_scale.config import MOST_FAULTS, Scenario, scenario_faults
from prsm_scale.errors import UsageError, did_you_mean, file_name, one_of
from prsm_scale.nodes import parse_nodes
from prsm_scale.validation import Checked

_OF_SCENARIO = {
    "node_counts": "nodes",
    "environment": "environment",
    "resource_profile": "profile",
    "network_topology": "topology",
    "network_conditions": "network",
    "byzantine_ratios": "byzantine_ratio",
    "target_operations_per_second": "rate",
    "test_duration_per_scale": "duration_s",
    "warmup_duration": "warmup_s",
    "max_memory_mb": "max_memory_mb",
    "max_cpu_percent": "max_cpu_percent",
}
"""Settings of a scenario that have names of their own here."""
_VARIED = ("nodes", "network", "byzantine_ratio")
INJECTED = ",".join(f"{one}:{1 / len(Behaviour):g}" for one in Behaviour)
"""What faulty replicas do under fault injection: all that they can, in equal shares."""


def _several(kinds: type[StrEnum] | None = None) -> BeforeValidator:
    """Accept one value or several, none of them twice."""

    def check(value: Any, info: Any) -> Any:
        values = list(value) if isinstance(value, list | tuple) else [value]
        name = info.field_name or ""
        if not values or len(set(map(str, values))) < len(values):
            raise UsageError(name, value, "one value or more, none of them twice")
        for one in values if kinds else ():
            if one not in list(kinds or ()):
                raise UsageError(name, one, one_of(kinds or (), one))
        return values

    return BeforeValidator(check)


def _nodes(value: Any) -> list[int]:
    try:
        return list(parse_nodes(value))
    except UsageError as error:
        raise UsageError("node_counts", error.value, error.allowed) from None


class ScalingTestConfig(Checked):
    """One configuration of the scaling tests.

    Parameters
    ----------
    name : str
        Part of the names of its files.
    environment : ScalingEnvironment or str
    node_counts : list of int, or text
        Numbers of replicas; also the grammar of `prsm_scale.parse_nodes`, ``"10..1000"``.
    resource_profile : ResourceProfile or str
    network_topology : NetworkTopology or str
    network_conditions : list of NetworkCondition or str
        Every one of them is run.
    test_duration_per_scale, warmup_duration, cooldown_duration : float
        Virtual seconds in which operations start that are counted; of load before these, which is left out; and after these,
        in which none start. Operations are followed until they are answered or given up.
    byzantine_ratios : list of float
        Every one of them is run; 0 need not be among them.
    target_operations_per_second : float
        Offered load.
    enable_resource_monitoring : bool
        Whether to sample what the host does meanwhile.
    enable_fault_injection : bool
        Whether faulty replicas do all that docs/faults.md names, in equal shares, rather than fall silent; a `behaviour` of one's
        own goes before that.
    max_memory_mb, max_cpu_percent : float, optional
        Limits on the modelled replicas; a scenario that passes one says so.
    save_detailed_logs : bool
        Whether `detailed_results` of the result are filled.
    metadata : dict
        Anything, kept with the result.
    **settings
        Any further setting of `prsm_scale.Scenario`, such as `protocol`, `seed`, `batch` or `precision`.

    Raises
    ------
    UsageError
        One line for each fault, of the configuration or of any of its scenarios.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, arbitrary_types_allowed=True)

    name: Annotated[str, BeforeValidator(lambda value: file_name("name", value))]
    environment: Annotated[ScalingEnvironment, choice(ScalingEnvironment)] = ScalingEnvironment.LOCAL_SIMULATION
    node_counts: Annotated[list[int], BeforeValidator(_nodes)]
    resource_profile: Annotated[ResourceProfile, choice(ResourceProfile)] = ResourceProfile.STANDARD
    network_topology: Annotated[NetworkTopology, choice(NetworkTopology)] = NetworkTopology.MESH
    network_conditions: Annotated[list[NetworkCondition], _several(NetworkCondition)] = Field(default=[NetworkCondition.WAN])
    test_duration_per_scale: float = Field(60, gt=0)
    warmup_duration: float = Field(30, ge=0)
    cooldown_duration: float = Field(10, ge=0)
    byzantine_ratios: Annotated[list[float], _several()] = Field(default=[0.0, 0.1, 0.2])
    target_operations_per_second: float = Field(10.0, gt=0)
    enable_resource_monitoring: bool = True
    enable_fault_injection: bool = False
    max_memory_mb: float | None = Field(None, gt=0)
    max_cpu_percent: float | None = Field(None, gt=0)
    save_detailed_logs: bool = True
    metadata: dict[str, Any] = Field(default={})

    @model_validator(mode="after")
    def _all_allowed(self) -> ScalingTestConfig:
        """Build every scenario once, so that a fault shows before any is simulated."""
        further = self.settings
        known = set(Scenario.model_fields) - set(_OF_SCENARIO.values())
        names = [*type(self).model_fields, *sorted(known)]
        unknown = [
            UsageError(name, value, f"there is no such setting{did_you_mean(name, names)}")
            for name, value in further.items()
            if name not in known
        ]
        faults = unknown or list(islice(self._faults(), MOST_FAULTS))
        if faults:
            raise UsageError.gather(faults)
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """Further settings of a scenario."""
        return dict(self.__pydantic_extra__ or {})

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """Shares of faulty replicas, ascending."""
        return tuple(sorted(map(float, self.byzantine_ratios)))

    def scenarios(self, full: bool = False) -> list[Scenario]:
        """Every scenario of the configuration: conditions, then ratios, then numbers of replicas, which vary fastest.

        Parameters
        ----------
        full : bool
            Whether to simulate as many operations as are offered in the test, in place of as many as the precision needs.
        """
        return [Scenario(**point) for point in self._points(full)]

    def scenario(self, nodes: int, byzantine_ratio: float, network: str | None = None) -> Scenario:
        """The scenario at one number of replicas and share of faulty ones, under the first network condition by default."""
        point = {"nodes": nodes, "byzantine_ratio": byzantine_ratio, "network": network or self.network_conditions[0].value}
        return Scenario(**(self._common() | point))

    def _points(self, full: bool = False) -> Iterator[dict[str, Any]]:
        common = self._common()
        if full and "operations" not in common:
            batches = self.target_operations_per_second * self.test_duration_per_scale / common.get("batch", 1)
            common["operations"] = max(1, int(batches))
        for network, ratio, nodes in product(self.network_conditions, self.byzantine_ratios, self.node_counts):
            yield common | {"network": network.value, "byzantine_ratio": ratio, "nodes": nodes}

    def _common(self) -> dict[str, Any]:
        own = {theirs: getattr(self, ours) for ours, theirs in _OF_SCENARIO.items() if theirs not in _VARIED}
        if self.enable_fault_injection:
            own["behaviour"] = INJECTED
        return {name: getattr(value, "value", value) for name, value in own.items()} | self.settings

    def _faults(self) -> Iterator[UsageError]:
        theirs = {name: own for own, name in _OF_SCENARIO.items()}
        for fault in scenario_faults(self._points()):
            yield UsageError(theirs.get(fault.field, fault.field), fault.value, fault.allowed)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain data; ``ScalingTestConfig(**config.to_dict())`` makes the same one."""
        return dict(self.model_dump(mode="json"))
