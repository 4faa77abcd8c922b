//! One line of output, and tables of them.
//!
//! A [`Line`] is a row of pieces, each with a style. Every piece goes through [`Shown`] on its way in, so a line
//! can't hold anything a terminal would obey; styles are data until [`crate::screen::Screen`] writes them. Widths
//! are terminal columns (UAX #11), so that Chinese names and emoji keep a table straight.

use crate::display_text::Shown;
use anstyle::{AnsiColor, Style};
use std::fmt::{self, Display, Write as _};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// No style.
pub(crate) const PLAIN: Style = Style::new();
/// What the eye should find first.
pub(crate) const STRONG: Style = Style::new().bold();
/// What it may skip.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// It works.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Something to know.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// It does not work, or it can't wait.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// A place: a channel, a conversation.
pub(crate) const PLACE: Style = AnsiColor::Cyan.on_default();

/// One line without its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pieces: Vec<(Style, String)>,
}

impl Line {
    /// An empty line.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line of one piece without style.
    pub(crate) fn of(text: impl Display) -> Self {
        Self::new().text(text)
    }

    /// Adds a piece without style.
    pub(crate) fn text(self, text: impl Display) -> Self {
        self.styled(PLAIN, text)
    }

    /// Adds a piece.
    pub(crate) fn styled(mut self, style: Style, text: impl Display) -> Self {
        let shown = Shown(&text.to_string()).to_string();
        if !shown.is_empty() {
            self.pieces.push((style, shown));
        }
        self
    }

    /// Adds another line's pieces.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self
    }

    /// Terminal columns it takes.
    pub(crate) fn columns(&self) -> usize {
        self.pieces.iter().map(|(_, text)| text.width()).sum()
    }

    /// The line in at most `columns` columns; one that was longer ends in `...`.
    pub(crate) fn clipped(self, columns: usize) -> Self {
        if self.columns() <= columns {
            return self;
        }
        let mark = if columns >= 6 { "..." } else { "" };
        let mut left = columns - mark.len();
        let mut pieces = Vec::new();
        for (style, text) in self.pieces {
            let fits = prefix_of_columns(&text, left);
            left -= fits.width().min(left);
            let cut = fits.len() < text.len();
            pieces.push((style, fits.to_owned()));
            if cut {
                break;
            }
        }
        pieces.push((PLAIN, mark.to_owned()));
        Self { pieces }
    }

    fn padded(mut self, columns: usize) -> Self {
        let missing = columns.saturating_sub(self.columns());
        self.pieces.push((PLAIN, " ".repeat(missing)));
        self
    }

    /// The text with ANSI styles.
    pub(crate) fn ansi(&self) -> String {
        let mut out = String::new();
        for (style, text) in &self.pieces {
            write!(out, "{style}{text}{style:#}").expect("writing to a String can't fail");
        }
        out
    }
}

/// The text without styles.
impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|(_, text)| f.write_str(text))
    }
}

fn prefix_of_columns(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// A column of a [`Table`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    columns_min: usize,
    right: bool,
}

impl Column {
    /// A column whose cells stand at its left edge.
    pub(crate) const fn left(title: &'static str) -> Self {
        Self { title, columns_min: 0, right: false }
    }

    /// A column whose cells stand at its right edge: numbers.
    pub(crate) const fn right(title: &'static str) -> Self {
        Self { title, columns_min: 0, right: true }
    }

    /// At least so wide, so that the pages of a long list have the same columns.
    pub(crate) const fn at_least(mut self, columns: usize) -> Self {
        self.columns_min = columns;
        self
    }
}

/// Lines with aligned cells. The last column takes what is left of the terminal.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    heads: [Column; N],
    rows: Vec<[Line; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(heads: [Column; N]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [Line; N]) {
        self.rows.push(cells);
    }

    /// The lines, with the titles first if `titled`, each cut to `columns_max`.
    pub(crate) fn lines(self, titled: bool, columns_max: Option<usize>) -> Vec<Line> {
        let mut widths = self.heads.map(|head| head.columns_min.max(head.title.len()));
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.columns());
            }
        }
        let title = self.heads.map(|head| Line::new().styled(FAINT, head.title));
        let heads = self.heads;
        titled
            .then_some(title)
            .into_iter()
            .chain(self.rows)
            .map(|cells| align(cells, &heads, &widths))
            .map(|line| columns_max.map_or(line.clone(), |columns| line.clipped(columns)))
            .collect()
    }
}

fn align<const N: usize>(cells: [Line; N], heads: &[Column; N], widths: &[usize; N]) -> Line {
    let mut line = Line::new();
    for (at, cell) in cells.into_iter().enumerate() {
        let gap = if at == 0 { "" } else { "  " };
        let before = if heads[at].right { widths[at].saturating_sub(cell.columns()) } else { 0 };
        line.pieces.push((PLAIN, format!("{gap}{}", " ".repeat(before))));
        let last = at + 1 == N;
        line = line.join(if last || heads[at].right { cell } else { cell.padded(widths[at]) });
    }
    while line.pieces.last().is_some_and(|(_, text)| text.trim_end_matches(' ').is_empty()) {
        line.pieces.pop();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn e01_pieces_are_spelled_out_and_only_our_styles_are_left() {
        let line = Line::new().styled(STRONG, "\x1b[31mred\u{9b}0m").text("\r");
        assert_eq!(line.to_string(), "\\x1b[31mred\\x9b0m\\r");
        assert_eq!(line.ansi(), "\x1b[1m\\x1b[31mred\\x9b0m\x1b[0m\\r");
    }

    #[test]
    fn a_table_keeps_straight_with_wide_letters() {
        let mut table = Table::new([Column::left("NAME"), Column::right("N"), Column::left("TEXT")]);
        table.row([Line::of("日本"), Line::of(7), Line::of("a")]);
        table.row([Line::of("Grüße"), Line::of(1234), Line::of("b c")]);
        let lines: Vec<String> = table.lines(true, Some(15)).iter().map(Line::to_string).collect();
        assert_eq!(lines, ["NAME      N ...", "日本      7  a", "Grüße  1234 ..."]);
    }

    #[test]
    fn a_cut_line_never_splits_a_wide_letter() {
        assert_eq!(Line::of("日本語日本語").clipped(8).to_string(), "日本...");
        assert_eq!(Line::of("日本語").clipped(6).to_string(), "日本語");
        assert_eq!(Line::of("日本語").clipped(3).to_string(), "日");
    }

    proptest! {
        #[test]
        fn a_cut_line_fits(text in any::<String>(), columns in 0_usize..40) {
            // A sequence of several characters may be narrower than its parts, never wider.
            prop_assert!(Line::of(text).clipped(columns).columns() <= columns);
        }
    }
}
