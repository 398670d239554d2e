//! A terminal that remembers what stands on it, as far as the live view uses one.

use std::{
    io,
    sync::{Arc, Mutex},
};

use indicatif::TermLike;

#[derive(Debug, Default)]
struct Cells {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Cells {
    fn put(&mut self, text: &str, width: u16) {
        for c in text.chars() {
            if c == '\n' {
                self.row += 1;
                self.column = 0;
                continue;
            }
            if c == '\r' {
                self.column = 0;
                continue;
            }
            // As terminals do: the line is broken when the next sign comes, not before.
            if self.column >= usize::from(width) {
                self.row += 1;
                self.column = 0;
            }
            if self.rows.len() <= self.row {
                self.rows.resize(self.row + 1, Vec::new());
            }
            let row = &mut self.rows[self.row];
            if row.len() <= self.column {
                row.resize(self.column + 1, ' ');
            }
            row[self.column] = c;
            self.column += 1;
        }
    }
}

/// A screen that the live view draws on, and tests read.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    cells: Arc<Mutex<Cells>>,
    width: u16,
}

impl Screen {
    pub(super) fn new(width: u16) -> Self {
        Self {
            cells: Arc::default(),
            width,
        }
    }

    /// What stands there now.
    pub(super) fn text(&self) -> String {
        let cells = self.cells.lock().unwrap();
        let lines = cells.rows.iter().map(|row| row.iter().collect::<String>());
        let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n").trim_end().to_owned() + "\n"
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        // Tall enough that nothing scrolls away.
        200
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        let mut cells = self.cells.lock().unwrap();
        cells.row = cells.row.saturating_sub(n);
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.cells.lock().unwrap().row += n;
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.cells.lock().unwrap().column += n;
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        let mut cells = self.cells.lock().unwrap();
        cells.column = cells.column.saturating_sub(n);
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.cells
            .lock()
            .unwrap()
            .put(&format!("{text}\n"), self.width);
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.cells.lock().unwrap().put(text, self.width);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut cells = self.cells.lock().unwrap();
        let row = cells.row;
        if let Some(row) = cells.rows.get_mut(row) {
            row.clear();
        }
        cells.column = 0;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
