"""``--plot FILE``: a trace as a waterfall, as SVG by our own code or as PNG by Pillow."""

from __future__ import annotations

from pathlib import Path

from .. import waterfall
from ..errors import ConfigError
from ..values import Trace


def kind_of(path: str) -> str:
    """``svg`` or ``png``, before anything is done. Raises ConfigError."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise ConfigError(f"--plot {path} is neither .svg nor .png", hint="write FILE.svg")
    if kind == "png":
        _pillow()
    return kind


def write(trace: Trace, path: str) -> None:
    """Draw ``trace`` into the file. Raises ConfigError."""
    kind = kind_of(path)
    try:
        if kind == "svg":
            Path(path).write_text(waterfall.svg(trace), "utf-8")
        else:
            _write_png(trace, path)
    except OSError as error:
        raise ConfigError(f"--plot {path} cannot be written: {error.strerror}") from None


def _pillow() -> tuple[object, object]:
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise ConfigError(
            "a .png needs Pillow, which is not installed",
            hint="pip install 'gwsync[doctor]', or write an .svg",
        ) from None
    return Image, ImageDraw


def _write_png(trace: Trace, path: str) -> None:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (waterfall.WIDTH, waterfall.height(trace)), "#ffffff")
    draw = ImageDraw.Draw(image)
    draw.text((8, 8), _latin(waterfall.title(trace)), fill=waterfall.INK)
    for bar in waterfall.bars(trace):
        draw.text((8, bar.y + 2), _latin(bar.label), fill=waterfall.INK)
        draw.rectangle((bar.x, bar.y, bar.x + bar.width, bar.y + 16), fill=bar.colour)
        draw.text((bar.x + bar.width + 6, bar.y + 2), bar.text, fill=waterfall.FAINT)
    image.save(path)


def _latin(text: str) -> str:
    """Pillow's built-in font has no more."""
    return text.encode("latin-1", "replace").decode("latin-1")
