//! One line of the comparison: a figure of ours, beside a peer's or alone, held against a target.

use std::fmt;

/// What was measured, and what it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What is compared.
    pub name: String,
    /// Of [`ours`](Self::ours) and [`peer`](Self::peer).
    pub unit: String,
    /// Our figure.
    pub ours: f64,
    /// The peer's, if there is one.
    pub peer: Option<f64>,
    /// What is held against the target: a ratio, or our figure itself.
    pub value: f64,
    /// Whether the value should be small.
    pub at_most: bool,
    /// What it has to be.
    pub must: f64,
    /// What it would best be.
    pub goal: f64,
    /// How far the value is uncertain, as a share of it.
    pub noise: f64,
}

impl Row {
    /// Our figure divided by the peer's: as small as possible.
    pub fn ratio(name: impl Into<String>, unit: &str, (ours, peer): (f64, f64)) -> Self {
        Self {
            peer: Some(peer),
            value: ours / peer,
            ..Self::alone(name, unit, ours)
        }
    }

    /// The peer's figure divided by ours: as large as possible.
    pub fn faster(name: impl Into<String>, unit: &str, (ours, peer): (f64, f64)) -> Self {
        Self {
            peer: Some(peer),
            value: peer / ours,
            at_most: false,
            ..Self::alone(name, unit, ours)
        }
    }

    /// Our figure: as small as possible.
    pub fn alone(name: impl Into<String>, unit: &str, ours: f64) -> Self {
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            ours,
            peer: None,
            value: ours,
            at_most: true,
            must: f64::NAN,
            goal: f64::NAN,
            noise: 0.0,
        }
    }

    /// What the value has to be, and what it would best be.
    #[must_use]
    pub fn target(self, must: f64, goal: f64) -> Self {
        Self { must, goal, ..self }
    }

    /// The value where it was not got from the medians, and its noise.
    #[must_use]
    pub fn measured(self, (value, noise): (f64, f64)) -> Self {
        let value = if self.at_most { value } else { 1.0 / value };
        Self { value, noise, ..self }
    }

    /// Whether it falls short of what it has to be, by more than the noise.
    pub fn is_short(&self) -> bool {
        let noise = self.value.abs() * self.noise;
        !if self.at_most {
            self.value - noise <= self.must
        } else {
            self.value + noise >= self.must
        }
    }

    /// Whether it is what it would best be.
    pub fn is_best(&self) -> bool {
        if self.at_most {
            self.value <= self.goal
        } else {
            self.value >= self.goal
        }
    }

    /// `ok` or `short`; and whether more than `ok`.
    pub fn verdict(&self) -> &'static str {
        match (self.is_short(), self.is_best()) {
            (true, _) => "short",
            (false, true) => "ok, goal",
            (false, false) => "ok",
        }
    }

    /// Its parts as text: name, ours, peer, value, target, noise, verdict.
    pub fn cells(&self) -> [String; 7] {
        let figure = |value| format!("{} {}", Digits(value), self.unit).trim_end().to_owned();
        // Shares are compared by their difference, in points, and so is their noise.
        let (times, noise) = match self.unit.as_str() {
            "%" => ("", format!("±{}", Digits(self.value.abs() * self.noise))),
            _ if self.peer.is_some() => ("×", format!("±{:.0} %", self.noise * 100.0)),
            _ => ("", format!("±{:.0} %", self.noise * 100.0)),
        };
        let sign = if self.at_most { "≤" } else { "≥" };
        [
            self.name.clone(),
            figure(self.ours),
            self.peer.map_or_else(|| "-".to_owned(), figure),
            format!("{}{times}", Digits(self.value)),
            format!("{sign} {} ({})", Digits(self.must), Digits(self.goal)),
            noise,
            self.verdict().to_owned(),
        ]
    }

    /// One line for [`decode`](Self::decode), which one program prints for another.
    pub fn encode(&self) -> String {
        let Self { name, unit, .. } = self;
        let numbers = [
            self.ours,
            self.peer.unwrap_or(f64::NAN),
            self.value,
            f64::from(u8::from(self.at_most)),
            self.must,
            self.goal,
            self.noise,
        ];
        format!(
            "row\t{name}\t{unit}\t{}",
            numbers.map(|n| n.to_string()).join("\t")
        )
    }

    /// What [`encode`](Self::encode) wrote; `None`, if it is any other line.
    pub fn decode(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix("row\t")?.split('\t');
        let (name, unit) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let numbers: Vec<f64> = parts.map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[ours, peer, value, at_most, must, goal, noise] = numbers.as_slice() else {
            return None;
        };
        Some(Self {
            name,
            unit,
            ours,
            peer: (!peer.is_nan()).then_some(peer),
            value,
            at_most: at_most != 0.0,
            must,
            goal,
            noise,
        })
    }
}

/// In columns.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, ours, peer, value, target, noise, verdict] = self.cells();
        write!(
            f,
            "{name:<62} {ours:>11} {peer:>11} {value:>8} {target:>16} {noise:>7}  {verdict}"
        )
    }
}

/// Three digits that count.
struct Digits(f64);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let decimals = match value.abs() {
            _ if value == value.trunc() => 0,
            100.0.. => 0,
            10.0..100.0 => 1,
            _ => 2,
        };
        write!(f, "{value:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_short_only_beyond_its_noise() {
        let row = Row::ratio("a", "ns", (22.0, 10.0)).target(2.0, 1.5);
        assert!(row.is_short() && row.verdict() == "short");
        assert!(!row.clone().measured((2.2, 0.1)).is_short());
        let row = Row::faster("a", "ns", (10.0, 120.0)).target(15.0, 20.0);
        assert!(row.is_short() && !row.measured((0.08, 0.2)).is_short());
        assert!(Row::alone("a", "B", f64::NAN).target(1.0, 1.0).is_short());
    }

    #[test]
    fn rows_pass_from_program_to_program() {
        for row in [
            Row::ratio("a b", "ns", (1.5, 3.0)).target(1.0, 0.5),
            Row::alone("c", "", 0.0).target(0.0, 0.0),
        ] {
            assert_eq!(Row::decode(&row.encode()), Some(row));
        }
        assert_eq!(Row::decode("anything else"), None);
    }
}
