//! Latency by percentile, drawn as SVG. Both axes are logarithmic: along the lower one each nine of
//! a percentile is as wide as the one before, as G. Tene's HdrHistogram plots it, for the tail is
//! what callers remember.

use super::Measured;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

/// Width and height, in pixels.
const SIZE: (u32, u32) = (960, 560);

/// Colours that those who see few colours can tell apart (M. Okabe and K. Ito, "Color Universal
/// Design", 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// Labels of an axis at most; fewer than ten a decade, so that they stand at the decades alone.
const DECADES: usize = 9;

/// One line: its name, and for each point one over the share of requests above it, and
/// milliseconds.
type Line = (String, Vec<(f64, f64)>);

/// Draws what callers felt of each server, and of the first one what its replies said of retrieval
/// and inference.
pub(super) fn draw(path: &Path, title: &str, all: &[Measured]) -> Result<(), Box<dyn Error>> {
    let lines = lines(all);
    let points = || lines.iter().flat_map(|(_, points)| points);
    let widest = points().map(|point| point.0).fold(100.0, f64::max);
    let fastest = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let slowest = points().map(|point| point.1).fold(fastest, f64::max);
    // Whole decades, so that there is a label at both ends; the lower one within what is drawn,
    // were it rounded.
    let least = 10_f64.powf(fastest.log10().floor()) * 0.999;
    let most = 10_f64.powf(slowest.log10().ceil()).max(10.0 * least);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..widest).log_scale(), (least..most).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile of requests")
        .y_desc("milliseconds")
        .x_labels(DECADES)
        .y_labels(DECADES)
        .y_label_formatter(&|&ms| tidily(ms))
        .x_label_formatter(&|&share| percentile(share))
        .light_line_style(WHITE)
        .label_style(("sans-serif", 14))
        .draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        let sample = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2));
        chart.draw_series(line)?.label(name).legend(sample);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()?;
    root.present()?;
    Ok(())
}

fn lines(all: &[Measured]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (place, measured) in all.iter().enumerate() {
        let Some(report) = &measured.open_loop else { continue };
        let widest = report.count.max(1) as f64;
        let told = report.curves.iter().filter(|curve| place == 0 || curve.name == "latency");
        for curve in told {
            let name = match curve.name.as_str() {
                "latency" => format!("{}, {:.0} requests/s", measured.name, report.rate),
                stage => format!("of it {stage}"),
            };
            let share = |quantile: f64| (1.0 / (1.0 - quantile).max(f64::EPSILON)).min(widest);
            let points = curve.points.iter().map(|&(quantile, ms)| (share(quantile), ms));
            lines.push((name, points.filter(|point| point.1 > 0.0).collect()));
        }
    }
    lines
}

/// The percentile that one of so many requests is above.
fn percentile(share: f64) -> String {
    format!("{} %", tidily(100.0 - 100.0 / share))
}

/// Without what computing left behind the sixth place.
fn tidily(number: f64) -> String {
    format!("{}", (number * 1e6).round() / 1e6)
}
