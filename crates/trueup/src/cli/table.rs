//! Tables for people, in columns that hold still.

/// Rows under heads, each column as wide as its widest; `<` begins the head of one whose words
/// stand left, `>` of one whose numbers stand right.
pub(super) struct Table {
    heads: Vec<(bool, String)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heads: &[&str]) -> Table {
        let head = |head: &&str| (head.starts_with('<'), head[1..].to_owned());
        Table { heads: heads.iter().map(head).collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, row: impl Into<Vec<String>>) {
        self.rows.push(row.into());
    }

    /// None without rows.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let heads: Vec<String> = self.heads.iter().map(|(_, head)| head.clone()).collect();
        let all: Vec<&Vec<String>> = [&heads].into_iter().chain(&self.rows).collect();
        let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..heads.len()).filter_map(width).collect();
        let line = |row: &&Vec<String>| {
            let cells = row.iter().zip(&widths).zip(&self.heads);
            let cells = cells.map(|((cell, &width), (left, _))| match left {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            });
            format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
        };
        all.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["<name", ">n"]);
        assert_eq!(table.lines(), Vec::<String>::new());
        table.row(["a".to_owned(), "100".to_owned()]);
        table.row(["longer".to_owned(), "1".to_owned()]);
        assert_eq!(table.lines(), ["  name      n", "  a       100", "  longer    1"]);
    }
}
