//! Plots as SVG: no script, no font, nothing from elsewhere; light or dark as the reader's screen is.

use std::fmt::Write;

use crate::report::number;

const WIDTH: f64 = 760.0;
const LINES_HEIGHT: f64 = 400.0;
const BAR_HEIGHT: f64 = 26.0;
/// Around the area that is plotted.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
/// Between two names at the ends of lines.
const NAME_HEIGHT: f64 = 14.0;
/// For the names of bars.
const BAR_LEFT: f64 = 110.0;

/// Colours that differ on white and on black, for the colour-blind too (Okabe and Ito).
const COLOURS: [&str; 8] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d"];

const STYLE: &str = "<style>\
    .plot{font:12px system-ui,sans-serif;fill:#1f2328;background:#fff}\
    .plot .title{font-size:14px;font-weight:600}.plot .grid{stroke:#d0d7de}.plot .axis{stroke:#656d76}\
    .plot .line{fill:none;stroke-width:2}.plot .repl{stroke-width:3.5}\
    @media(prefers-color-scheme:dark){.plot{fill:#e6edf3;background:#0d1117}.plot .grid{stroke:#30363d}\
    .plot .axis{stroke:#8b949e}}</style>";

/// One picture.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Of its file.
    pub(crate) name: &'static str,
    title: String,
    shape: Shape,
}

/// Names of lines, and their points.
pub(crate) type Lines = Vec<(String, Vec<(f64, f64)>)>;

#[derive(Clone, Debug)]
enum Shape {
    /// Both axes logarithmic: what is compared differs by factors.
    Lines {
        x: &'static str,
        y: &'static str,
        lines: Lines,
    },
    Bars {
        x: &'static str,
        bars: Vec<(String, f64)>,
    },
}

/// Puts points together that are of one line.
pub(crate) fn lines(points: impl Iterator<Item = (impl Into<String>, f64, f64)>) -> Lines {
    let mut lines = Lines::new();
    for (name, x, y) in points.filter(|(_, x, y)| *x > 0.0 && *y > 0.0) {
        let name = name.into();
        match lines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push((x, y)),
            None => lines.push((name, vec![(x, y)])),
        }
    }
    lines
}

impl Plot {
    pub(crate) fn lines(name: &'static str, title: &str, (x, y): (&'static str, &'static str), lines: Lines) -> Self {
        Self { name, title: title.to_owned(), shape: Shape::Lines { x, y, lines } }
    }

    pub(crate) fn bars(name: &'static str, title: &str, x: &'static str, bars: Vec<(String, f64)>) -> Self {
        Self { name, title: title.to_owned(), shape: Shape::Bars { x, bars } }
    }

    /// The whole picture.
    pub(crate) fn svg(&self) -> String {
        let (height, body) = match &self.shape {
            Shape::Lines { x, y, lines } => (LINES_HEIGHT, draw_lines(x, y, lines)),
            Shape::Bars { x, bars } => draw_bars(x, bars),
        };
        let title = escape(&self.title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             width=\"{WIDTH}\" role=\"img\" aria-label=\"{title}\">{STYLE}\n\
             <text class=\"title\" x=\"12\" y=\"22\">{title}</text>\n{body}</svg>\n"
        )
    }
}

/// A logarithmic axis over whole decades.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).max(1e-9).log10().floor();
        let high = values.fold(0.0, f64::max).max(1e-9).log10().ceil().max(low + 1.0);
        Self { low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let decades = (self.high - self.low).round();
        std::iter::successors(Some(0.0), move |decade| (*decade < decades).then_some(decade + 1.0))
            .map(|decade| 10_f64.powf(self.low + decade))
    }
}

fn draw_lines(x_label: &str, y_label: &str, lines: &Lines) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let x = Axis::over(points().map(|(x, _)| *x), LEFT, WIDTH - RIGHT);
    let y = Axis::over(points().map(|(_, y)| *y), LINES_HEIGHT - BOTTOM, TOP);
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, LINES_HEIGHT - BOTTOM);
    let mut svg = String::new();
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{at:.1} {top}V{bottom}\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            short(tick)
        );
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            at + 4.0,
            short(tick)
        );
    }
    let _ = writeln!(svg, "<path class=\"axis\" fill=\"none\" d=\"M{left} {top}V{bottom}H{right}\"/>");
    let (middle, low) = (f64::midpoint(left, right), bottom + 40.0);
    let _ = writeln!(svg, "<text x=\"{middle:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{}</text>", escape(x_label));
    let (side, middle) = (16.0, f64::midpoint(top, bottom));
    let _ = writeln!(
        svg,
        "<text transform=\"translate({side} {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        escape(y_label)
    );
    // Names stand at the ends of their lines, pushed apart where they would meet.
    let mut names: Vec<(f64, &str, &str)> = Vec::new();
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let path: Vec<String> = points.iter().map(|(px, py)| format!("{:.1} {:.1}", x.at(*px), y.at(*py))).collect();
        let class = if name.starts_with("repl") { "line repl" } else { "line" };
        let _ = writeln!(svg, "<path class=\"{class}\" stroke=\"{colour}\" d=\"M{}\"/>", path.join("L"));
        for (px, py) in points {
            let _ =
                writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x.at(*px), y.at(*py));
        }
        names.extend(points.last().map(|(_, py)| (y.at(*py), name.as_str(), *colour)));
    }
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut least = top;
    for (at, name, colour) in names {
        let at = at.max(least);
        least = at + NAME_HEIGHT;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            right + 8.0,
            at + 4.0,
            escape(name)
        );
    }
    svg
}

/// Bars from zero, with their height.
fn draw_bars(label: &str, bars: &[(String, f64)]) -> (f64, String) {
    let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(1e-9);
    let mut svg = String::new();
    let mut top = TOP;
    for (name, value) in bars {
        let width = value.max(0.0) / most * (WIDTH - BAR_LEFT - RIGHT);
        let colour = if name.starts_with("repl") { "#d55e00" } else { "#0072b2" };
        let middle = top + BAR_HEIGHT / 2.0 + 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{BAR_LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
            BAR_LEFT - 8.0,
            escape(name),
            top,
            BAR_HEIGHT - 8.0,
            BAR_LEFT + width + 6.0,
            number(*value)
        );
        top += BAR_HEIGHT;
    }
    let _ = writeln!(svg, "<text x=\"{BAR_LEFT}\" y=\"{:.1}\">{}</text>", top + 14.0, escape(label));
    (top + 28.0, svg)
}

/// A power of ten.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e3.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_reaches_over_whole_decades() {
        let axis = Axis::over([120.0, 4_000.0].into_iter(), 0.0, 200.0);
        assert_eq!(axis.ticks().map(short).collect::<Vec<_>>(), ["100", "1 k", "10 k"]);
        assert!((axis.at(1_000.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_plot_is_labelled_and_escaped() {
        let points = [("repl", 1.0, 2.0), ("a<b", 10.0, 30.0)];
        let svg = Plot::lines("x", "A & B", ("many", "much / s"), lines(points.into_iter())).svg();
        for text in ["A &amp; B", ">many<", ">much / s<", "a&lt;b", "prefers-color-scheme"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        let svg = Plot::bars("y", "C", "ms", vec![("repl".to_owned(), 2.0), ("other".to_owned(), 4.0)]).svg();
        assert!(svg.contains(">4.00<") && svg.contains(">ms<"), "{svg}");
    }
}
