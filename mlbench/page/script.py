"""The script that draws charts: Vega-Lite with vega-embed, as vl-convert carries them."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.metadata import version

from mlbench.atomic_write import write_atomically
from mlbench.environment import cache_dir
from mlbench.errors import StoreError

__all__ = ["chart_script"]

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


@cache
def chart_script() -> str:
    """JavaScript that sets `vegaEmbed`, about 0.9 MB. Bundling it takes seconds, so it is kept in the
    cache."""
    path = cache_dir() / "page" / f"vega-{version('vl-convert-python')}.js"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        import vl_convert

        # In a function, as the bundle declares its names at the top.
        text = f"(function () {{\n{vl_convert.javascript_bundle(_SNIPPET)}\n}})();\n"
        text = text.replace("</script", "<\\/script")
        with suppress(StoreError):  # a cache that cannot be written costs time alone
            write_atomically(path, text.encode())
        return text
