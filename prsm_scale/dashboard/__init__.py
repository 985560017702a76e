"""Results of scaling tests side by side: a table, figures, and one page that needs nothing else."""

from __future__ import annotations

import os
from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prsm_scale.atomic import failing_in_one_line, write_text
from prsm_scale.controller.files import load_result
from prsm_scale.controller.result import ScalingTestResult

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = (
    "operations_per_second", "saturation_ops_per_second", "mean_latency_ms", "p95_latency_ms", "p99_latency_ms", "success_rate",
    "bottleneck",
)  # fmt: skip
_STYLE = (
    "body{font:15px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}td,th{padding:.2em .7em;text-align:right}"
)


class PerformanceDashboard:
    """Shows results of scaling tests.

    Examples
    --------
    >>> dashboard = PerformanceDashboard()
    >>> dashboard.load_scaling_results(result)  # doctest: +SKIP
    >>> dashboard.save_html("scaling.html")  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.results: list[ScalingTestResult] = []

    def load_scaling_results(self, result: ScalingTestResult | str | os.PathLike[str]) -> None:
        """Add a result, or one that is stored in a file.

        Raises
        ------
        UsageError
            If the file is damaged, of a newer version, or no result.
        """
        self.results.append(result if isinstance(result, ScalingTestResult) else load_result(result))

    @property
    def table(self) -> pd.DataFrame:
        """Every scenario of every result, by name of its configuration."""
        import pandas as pd

        tables = [one.scenarios.assign(configuration=one.config.name) for one in self.results]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def figure(self, result: ScalingTestResult) -> Any:
        """Draw throughput and latency of a result over the number of nodes.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from prsm_scale.analysis.sweep_fits import fit_scenarios
        from prsm_scale.report.plots import draw
        from prsm_scale.report.series import split

        return draw(split(result.rows, fit_scenarios(result.scenarios)))

    def save_html(self, file: str | os.PathLike[str]) -> Path:
        """Write all results into one page with its figures in it.

        Raises
        ------
        PrsmScaleError
            If the file cannot be written.
        """
        path = Path(file)
        page = f'<!doctype html><meta charset="utf-8"><title>prsm-scale</title><style>{_STYLE}</style>{self._repr_html_()}'
        with failing_in_one_line(path.parent):
            write_text(path, page)
        return path

    def _repr_html_(self) -> str:
        """Show all results in a notebook."""
        return "".join(map(self._section, self.results)) or "<p>no results loaded</p>"

    def _section(self, result: ScalingTestResult) -> str:
        import pandas as pd

        table = pd.DataFrame.from_dict(result.node_performance, orient="index").rename_axis("nodes")[list(_SHOWN)]
        picture = BytesIO()
        self.figure(result).savefig(picture, format="png", dpi=110)
        told = [*result.performance_bottlenecks, *result.scaling_recommendations]
        lines = "".join(f"<li>{escape(line)}</li>" for line in told)
        image = f'<img alt="" src="data:image/png;base64,{b64encode(picture.getvalue()).decode()}">'
        return f"<h2>{escape(result.config.name)}</h2>{table.to_html(float_format='{:,.4g}'.format)}{image}<ul>{lines}</ul>"
