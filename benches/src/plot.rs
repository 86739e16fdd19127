//! Rows as a picture: bars from zero, the spread as a line through their ends, the bar that a row must not exceed as a tick;
//! a panel for each unit. Plain SVG 1.1 with no script and no font of its own, so that it shows wherever Markdown does.

use std::fmt::Write as _;

/// One figure, as the benches' JSON has it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Figure {
    /// Name of the row.
    pub name: String,
    /// Median.
    pub value: f64,
    /// Half the distance between the quartiles.
    pub spread: f64,
    /// Unit of both.
    pub unit: String,
    /// The most it may be.
    pub bar: Option<f64>,
}

/// Pixels: the names' column, the bars', the values', and the height of a row and of a panel's title.
const NAMES: f64 = 260.0;
const BARS: f64 = 460.0;
const VALUES: f64 = 140.0;
const ROW: f64 = 20.0;
const TITLE: f64 = 34.0;

/// A picture of the figures.
#[must_use]
pub fn svg(title: &str, figures: &[Figure]) -> String {
    let mut units: Vec<&str> = Vec::new();
    for figure in figures {
        if !units.contains(&figure.unit.as_str()) {
            units.push(&figure.unit);
        }
    }
    let width = NAMES + BARS + VALUES;
    let height = TITLE * (units.len() + 1) as f64 + ROW * (figures.len() as f64 + 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    text(&mut svg, 10.0, 22.0, "start", "font-size=\"15\"", title);
    let mut top = TITLE;
    for unit in units {
        let of_unit: Vec<_> = figures
            .iter()
            .filter(|figure| figure.unit == unit)
            .collect();
        top = panel(&mut svg, top, unit, &of_unit);
    }
    svg + "</svg>\n"
}

/// Draws the figures of one unit from `top` on; where the next may begin.
fn panel(svg: &mut String, top: f64, unit: &str, figures: &[&Figure]) -> f64 {
    text(
        svg,
        NAMES,
        top + 22.0,
        "start",
        "fill=\"#555\"",
        &unit.replace('_', " "),
    );
    let ends = figures.iter().map(|figure| {
        let end = figure.value + figure.spread;
        end.max(figure.bar.unwrap_or(0.0))
    });
    let most = ends.fold(f64::MIN_POSITIVE, f64::max);
    let at = |value: f64| NAMES + BARS * value.max(0.0) / most;
    for (row, figure) in figures.iter().enumerate() {
        let y = top + TITLE + ROW * row as f64;
        row_of(svg, y, figure, at);
    }
    top + TITLE + ROW * figures.len() as f64
}

fn row_of(svg: &mut String, y: f64, figure: &Figure, at: impl Fn(f64) -> f64) {
    let middle = y + ROW / 2.0 - 2.0;
    let missed = figure
        .bar
        .is_some_and(|bar| figure.value - figure.spread > bar);
    let colour = match (figure.bar, missed) {
        (None, _) => "#7a9cc6",
        (Some(_), false) => "#5aa469",
        (Some(_), true) => "#d2785a",
    };
    text(svg, NAMES - 8.0, middle + 4.0, "end", "", &figure.name);
    let (x, length, thickness) = (at(0.0), at(figure.value) - at(0.0), ROW - 8.0);
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{thickness}\" fill=\"{colour}\"/>",
        y + 2.0
    );
    let (low, high) = (
        at(figure.value - figure.spread),
        at(figure.value + figure.spread),
    );
    let _ = writeln!(
        svg,
        "<path d=\"M{low:.1} {middle:.1}H{high:.1}\" stroke=\"#333\"/>"
    );
    if let Some(bar) = figure.bar {
        let x = at(bar);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {y:.1}v{:.1}\" stroke=\"#000\" stroke-width=\"2\"/>",
            ROW - 4.0
        );
    }
    let decimals = if figure.value < 10.0 { 2 } else { 0 };
    let value = format!("{:.decimals$} ± {:.decimals$}", figure.value, figure.spread);
    text(svg, NAMES + BARS + 10.0, middle + 4.0, "start", "", &value);
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, more: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, value: f64, unit: &str, bar: Option<f64>) -> Figure {
        Figure {
            name: name.to_owned(),
            value,
            spread: 1.0,
            unit: unit.to_owned(),
            bar,
        }
    }

    #[test]
    fn a_panel_a_unit_and_a_bar_a_row() {
        let figures = [
            figure("held", 10.0, "ns", Some(10.0)),
            figure("missed", 20.0, "ns", Some(10.0)),
            figure("a < b", 0.5, "ratio", None),
        ];
        let svg = svg("what it costs", &figures);
        assert_eq!(svg.matches("<rect").count(), 1 + 3);
        assert_eq!(svg.matches("stroke-width").count(), 2, "ticks of bars");
        assert_eq!(svg.matches("#d2785a").count(), 1, "one is missed");
        assert!(svg.contains("a &lt; b") && svg.contains("20 ± 1"));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
