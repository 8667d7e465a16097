"""The charts of `./dev bench items --plot`: an SVG for each plot of an item, and one HTML page with all of them."""

import html
import re

import matplotlib
matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

REMORA, RIVAL, INK, FAINT = "#1259c3", "#8a8f98", "#22262b", "#dfe3e8"
AXES = {"real_time": ("time", "s", 1e-9), "cpu_time": ("CPU time", "s", 1e-9), "items_per_second": ("items a second", "", 1)}

pyplot.rcParams.update({
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
    "svg.hashsalt": "remora", "axes.edgecolor": FAINT, "xtick.color": INK, "ytick.color": INK,
})


def series(item, prefix, metric):
    """{threads: [(size, value), ...]} of the rows PREFIX/SIZE."""
    found = {}
    for name, fields in item.rows.items():
        match = re.fullmatch(re.escape(prefix) + r"/(\d+)(?:/threads:(\d+))?", name)
        if match and fields.get(metric, 0) > 0:
            found.setdefault(int(match[2] or 1), []).append((int(match[1]), fields[metric]))
    return {threads: sorted(points) for threads, points in sorted(found.items())}


def short(size, _=None):
    """1000 -> 1k, 1048576 -> 1Mi."""
    for unit, factor in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if size >= factor and size % factor == 0:
            return f"{size / factor:g}{unit}"
    for unit, factor in (("M", 10**6), ("k", 10**3)):
        if size >= factor:
            return f"{size / factor:g}{unit}"
    return f"{size:g}"


def spread(labels, axes):
    """Moves labels at the lines' ends apart: (y, text, color), in log space."""
    bottom, top = axes.get_ylim()
    gap = (top / bottom) ** 0.075
    placed = []
    for y, text, color in sorted(labels):
        if placed and y < placed[-1][0] * gap:
            y = placed[-1][0] * gap
        placed.append((y, text, color))
    return placed


def draw(item, plot, path):
    """False if there is nothing to draw."""
    metric = plot["metric"]
    sides = [("Rival", RIVAL, series(item, plot["rival"], metric)), ("Remora", REMORA, series(item, plot["remora"], metric))]
    sizes = sorted({size for _, _, lines in sides for points in lines.values() for size, _ in points})
    if not sizes:
        return False
    what, unit, scale = AXES.get(metric, (metric.replace("_", " "), "", 1))
    figure, axes = pyplot.subplots(figsize=(5.6, 3.5))
    labels = []
    for name, color, lines in sides:
        for threads, points in lines.items():
            xs, ys = [size for size, _ in points], [value * scale for _, value in points]
            axes.plot(xs, ys, color=color, linewidth=2.2, linestyle="-" if threads == 1 else (0, (4, 1.5)), marker="o",
                      markersize=5, markeredgecolor="white", markeredgewidth=0.8, clip_on=False,
                      zorder=3 if name == "Remora" else 2)
            labels.append((ys[-1], name if len(lines) == 1 else f"{name}, {threads} thread{'s' * (threads > 1)}", color))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(matplotlib.ticker.FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(EngFormatter(unit=unit, sep=" " if unit else "\N{HAIR SPACE}"))
    low, high = axes.get_ylim()
    if high / low < 100:  # at least two decades, so that every chart has a scale
        middle = (high * low) ** 0.5
        axes.set_ylim(min(low, middle / 10), max(high, middle * 10))
    for y, text, color in spread(labels, axes):
        axes.annotate(text, (sizes[-1], y), xytext=(9, 0), textcoords="offset points", va="center", color=color,
                      fontweight="bold" if color == REMORA else "normal", annotation_clip=False)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel(plot["size"])
    axes.set_title(what, loc="left", fontsize=10, color=INK)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.06, metadata={"Date": None})
    pyplot.close(figure)
    return True


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #22262b; background: #f4f5f7; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 0; } h2 span { color: #8a8f98; }
p { margin: 2px 0 12px; color: #5a616b; }
section { background: #fff; border: 1px solid #dfe3e8; border-radius: 8px; padding: 18px 20px; margin-top: 18px; }
.charts { display: flex; flex-wrap: wrap; gap: 20px; } .charts img { flex: 1 1 420px; min-width: 0; max-width: 560px; }
table { border-collapse: collapse; width: 100%; margin-top: 12px; font-size: 14px; font-variant-numeric: tabular-nums; }
th { font-weight: 600; color: #8a8f98; } th, td { text-align: right; padding: 4px 10px; border-top: 1px solid #eceef1; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } .missed { color: #b3261e; font-weight: 600; }
.reached { color: #1a7f37; }
"""


def write(items, folder):
    """Writes the charts and index.html; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for item in items:
        charts = []
        for i, plot in enumerate(item.plots):
            name = item.name + (f"_{i + 1}" if len(item.plots) > 1 else "") + ".svg"
            if draw(item, plot, folder / name):
                alt = f"{item.name}: {plot['metric']} over {plot['size']}, rival against Remora"
                charts.append(f'<img src="{name}" alt="{html.escape(alt)}">')
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(result[key])}</td>" for key in ("what", "size", "rival", "remora", "ratio", "bar"))
            + f'<td class="{"reached" if result["reached"] else "missed"}">{result["verdict"]}</td></tr>'
            for result in item.results)
        out.append(
            f'<section id="{item.name}"><h2><span>{item.number}</span> {html.escape(item.title)}</h2>'
            f"<p><code>{item.name}</code>. The rival: {html.escape(item.rival)}.</p>"
            f'<div class="charts">{"".join(charts)}</div>'
            "<table><tr><th>bar</th><th>size</th><th>rival</th><th>Remora</th><th>ratio</th><th>wanted</th><th></th></tr>"
            f"{rows}</table></section>")
    reached = sum(result["reached"] for item in items for result in item.results)
    judged = sum(len(item.results) for item in items)
    page = folder / "index.html"
    page.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Remora's items against their rivals</title><style>{STYLE}</style><main>"
        f"<h1>Remora's items against their rivals</h1><p>{reached} of {judged} bars reached. Both axes are logarithmic.</p>"
        f'{"".join(out)}</main></html>\n')
    return page
