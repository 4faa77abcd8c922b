//! A page in Prometheus' text format.

use std::fmt::{Display, Write as _};

use crate::driver::tally::Histogram;

/// A page in Prometheus' text format. No label value of ours needs escaping.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        ends: &[f64; N],
        values: &Histogram<N>,
    ) {
        self.family(name, "histogram", help);
        for (end, count) in ends.iter().zip(values.up_to) {
            self.sample(&format!("{name}_bucket"), &[("le", &end.to_string())], count);
        }
        self.sample(&format!("{name}_bucket"), &[("le", "+Inf")], values.count);
        self.line(format_args!("{name}_sum {}", values.sum));
        self.line(format_args!("{name}_count {}", values.count));
    }
}
