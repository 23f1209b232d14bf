"""The estimated timeline for Perfetto and chrome://tracing: nodes one after the other, inside their modules.

The format is Chrome's Trace Event Format: complete events ("ph": "X") with microseconds since the beginning. Times are
those of the roofline: lower bounds, not a measurement, which the file says in its metadata.
"""

from __future__ import annotations

import json
from typing import Any

from .times import Times


def chrome_trace(roofline: Times) -> str:
    """The timeline as JSON text, ending in a newline."""
    events: list[dict[str, Any]] = [
        {
            "name": "process_name",
            "ph": "M",
            "pid": 1,
            "args": {"name": f"{roofline.model_type} on {roofline.device.name}"},
        },
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "estimated, one after the other"}},
    ]
    open_modules: list[dict[str, Any]] = []
    now = 0.0
    for node in roofline.nodes:
        path = node.module.split(".") if node.module else []
        names = [".".join(path[: i + 1]) for i in range(len(path))]
        kept = sum(1 for _ in _common(open_modules, names))
        _close(open_modules, kept, now)
        for name in names[kept:]:
            event = {"name": name, "cat": "module", "ph": "X", "pid": 1, "tid": 1, "ts": now, "dur": 0.0}
            open_modules.append(event)
            events.append(event)
        duration = 1e6 * node.time_s
        if duration:
            numbers = {"family": node.family, "bound": node.bound, "flops": node.flops, "bytes": node.bytes_moved}
            place = {"ph": "X", "pid": 1, "tid": 1, "ts": now, "dur": duration}
            events.append({"name": node.name, "cat": "node", **place, "args": numbers})
        now += duration
    _close(open_modules, 0, now)
    about = {"device": roofline.device.name, "fusion": roofline.fusion, "what": "lower bounds of a roofline, by fxcost"}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": about}, ensure_ascii=False) + "\n"


def _common(opened: list[dict[str, Any]], names: list[str]) -> Any:
    for event, name in zip(opened, names, strict=False):
        if event["name"] != name:
            return
        yield event


def _close(opened: list[dict[str, Any]], kept: int, now: float) -> None:
    """End the modules that are left."""
    while len(opened) > kept:
        event = opened.pop()
        event["dur"] = now - event["ts"]
