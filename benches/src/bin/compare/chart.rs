//! The rows as one picture: how far each is from its target, which is the line in the middle.

use std::fmt::Write as _;

use nameko_cachetools_benches::Row;

const WIDTH: f64 = 960.0;
const NAMES: f64 = 430.0;
const BARS: f64 = 360.0;
const ROW: f64 = 22.0;
const TOP: f64 = 56.0;

/// Bars are as long as the share of the target that is used up: the shorter the better, whatever the row measures.
pub(crate) fn draw(rows: &[Row]) -> String {
    let height = TOP + ROW * rows.len() as f64 + 14.0;
    let target = NAMES + BARS * 0.75;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="24" font-size="15" font-weight="bold">Costs, as shares of their targets (shorter is better)</text>
<text x="{target}" y="46" text-anchor="middle" fill="#555">target</text>
"##
    );
    for (n, row) in rows.iter().enumerate() {
        let y = TOP + ROW * n as f64;
        let share = used(row).clamp(0.0, 1.0 / 0.75);
        let color = if row.is_short() {
            "#c0392b"
        } else if row.is_best() {
            "#1e8449"
        } else {
            "#7dab4f"
        };
        let [name, _, _, value, bound, ..] = row.cells().map(escaped);
        let (text, length) = (y + 14.0, (BARS * 0.75 * share).max(1.0));
        let unit = if row.peer.is_some() {
            String::new()
        } else {
            format!(" {}", escaped(row.unit.clone()))
        };
        let _ = write!(
            svg,
            r##"<text x="{}" y="{text}" text-anchor="end">{name}</text>
<rect x="{NAMES}" y="{}" width="{length:.1}" height="{}" fill="{color}"/>
<text x="{}" y="{text}">{value}{unit}<tspan fill="#777">, {bound}</tspan></text>
"##,
            NAMES - 8.0,
            y + 3.0,
            ROW - 7.0,
            NAMES + BARS + 8.0,
        );
    }
    let _ = writeln!(
        svg,
        r##"<line x1="{target}" x2="{target}" y1="{}" y2="{}" stroke="#333" stroke-dasharray="4 3"/>
</svg>"##,
        TOP - 4.0,
        height - 8.0
    );
    svg
}

fn used(row: &Row) -> f64 {
    match (row.at_most, row.must) {
        (true, 0.0) => row.value,
        (true, must) => row.value / must,
        (false, must) => must / row.value,
    }
}

fn escaped(text: String) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
