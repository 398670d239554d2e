//! What stands on both streams: drawn on a terminal, plain lines in a pipe, JSON for programs; colour for those who want it.

mod filters;

use ferry_tests::Result;
use ferry_tests::ferryctl::{Ferryctl, on_terminal};
use ferry_tests::server::{Options, TestServer};
use filters::assert_said;

const TO: &str = "ferry-test/pmm-server:3.8.1";

/// What a terminal of so many columns shows when all was drawn, a line each: carriage returns, moves of the cursor, erasures and the
/// wrap at the right edge done, colours left out.
fn screen(drawn: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut text = drawn.chars().peekable();
    while let Some(letter) = text.next() {
        match letter {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                column = 0;
            }
            '\u{1b}' if text.next_if_eq(&'[').is_some() => {
                let mut parameters = String::new();
                let end = loop {
                    match text.next() {
                        Some(c) if c.is_ascii_alphabetic() => break c,
                        Some(c) => parameters.push(c),
                        None => return Vec::new(),
                    }
                };
                let number = parameters.parse::<usize>().unwrap_or(1);
                match end {
                    'A' => row = row.saturating_sub(number),
                    'B' => row += number,
                    'G' => column = number - 1,
                    'D' => column = column.saturating_sub(number),
                    'C' => column += number,
                    'K' if parameters == "2" => lines[row].clear(),
                    'K' => lines[row].truncate(column),
                    'J' => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    'm' | 'h' | 'l' => {}
                    other => panic!("a move this terminal does not know: {parameters}{other}"),
                }
            }
            letter => {
                if column == columns {
                    row += 1;
                    column = 0;
                    lines.resize(lines.len().max(row + 1), Vec::new());
                }
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = letter;
                column += 1;
            }
        }
        while lines.len() <= row {
            lines.push(Vec::new());
        }
    }
    let shown = lines
        .into_iter()
        .map(|line| line.into_iter().collect::<String>().trim_end().to_owned());
    shown.collect()
}

/// Whether there are colours or other looks in it.
fn coloured(text: &str) -> bool {
    text.split("\u{1b}[").skip(1).any(|rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
            .starts_with('m')
    })
}

#[test]
fn a_crossing_on_a_narrow_terminal_and_the_way_back_in_a_pipe() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let tool = Ferryctl::new()?;

    let drawn = on_terminal(
        &tool.command(&["migrate", &server.address(), "--to", TO, "--yes"]),
        40,
    )?;
    assert_eq!(drawn.code, 0, "{}", drawn.shown());
    assert!(coloured(&drawn.stdout), "{}", drawn.stdout);
    let moves = drawn.stdout.matches("\u{1b}[").count();
    assert!(moves > 100, "nothing is drawn anew: {moves}");
    let screen = screen(&drawn.stdout, 40);
    // The first is skipped: the image is there. Drawn for another width it would leave lines of what is past.
    let began = |mark: &str| {
        let lines = screen
            .iter()
            .filter_map(|line| line.trim().strip_prefix(mark));
        lines
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect::<Vec<usize>>()
    };
    assert_eq!(began("✓"), (2..=22).collect::<Vec<_>>(), "{screen:#?}");
    assert_eq!(began("▸"), [0; 0], "{screen:#?}");
    let all = screen.join("\n");
    for words in ["capture baseline", "downtime starts", "ferryctl rollback"] {
        assert!(all.contains(words), "no `{words}` in\n{all}");
    }

    let run = tool.only_run()?;
    let runs = tool.run(&["runs"])?;
    assert_said("runs", &runs, Some(&server.name));
    let status = tool.run(&["status", &run])?;
    assert_eq!((status.code, status.stderr.as_str()), (0, ""));
    assert!(
        status.stdout.contains("retire the agents"),
        "{}",
        status.stdout
    );
    let watched = tool.run(&["watch", &run])?;
    assert_eq!(watched.code, 0, "{}", watched.shown());
    assert!(
        watched.stderr.contains("wait until ready"),
        "{}",
        watched.shown()
    );
    let over = tool.run(&["resume", &run])?;
    assert_eq!(over.code, 5, "{}", over.shown());
    assert_said("resume-of-a-run-that-is-over", &over, Some(&server.name));

    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    for stream in [&back.stdout, &back.stderr] {
        let odd = stream.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "{stream:?}");
    }
    // One line for each event, the summary for whoever wants the data.
    assert!(back.stderr.lines().count() > 15, "{}", back.shown());
    assert!(
        back.stdout.contains("is PMM 2.44.1 again"),
        "{}",
        back.shown()
    );
    Ok(())
}

#[test]
fn colour_is_for_terminals_whose_owner_wants_it() -> Result<()> {
    let tool = Ferryctl::new()?;
    let words = ["status", "7f3a9c21"];
    assert!(coloured(&on_terminal(&tool.command(&words), 80)?.stdout));
    assert!(!coloured(&tool.run(&words)?.shown()));
    let forced = tool.run(&["status", "7f3a9c21", "--color", "always"])?;
    assert!(coloured(&forced.stderr));
    let without = tool.env("NO_COLOR", "1");
    let drawn = on_terminal(&without.command(&words), 80)?;
    assert_eq!(drawn.code, 1);
    assert!(drawn.stdout.contains("no run is called"), "{drawn:?}");
    assert!(!coloured(&drawn.stdout), "{drawn:?}");
    Ok(())
}

#[test]
fn for_programs_an_error_is_an_object_on_stdout_and_nothing_else_is_there() -> Result<()> {
    let tool = Ferryctl::new()?;
    for words in [
        &[
            "check",
            "docker:ferry-test-nobody",
            "--to",
            TO,
            "--output",
            "json",
        ] as &[_],
        &["status", "7f3a9c21", "--output", "json"],
        &["apply", "/nonexistent/plan.json", "--output", "json"],
    ] {
        let finished = tool.run(words)?;
        assert_ne!(finished.code, 0);
        let lines = finished.json()?;
        assert_eq!(lines.len(), 1, "{}", finished.shown());
        assert_eq!(lines[0]["kind"], "error");
        for field in ["code", "what", "hint"] {
            let text = lines[0][field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{field} in {}", finished.shown());
        }
    }
    Ok(())
}

#[test]
fn help_and_usage() -> Result<()> {
    let tool = Ferryctl::new()?;
    // Help shows the values of variables, and those are of this machine.
    let bare = Ferryctl::new()?
        .without("FERRY_STATE_DIR")
        .without("FERRY_AGENT_BINARY");
    for (name, words, code) in [
        ("help", &["--help"] as &[_], 0),
        ("help-migrate", &["migrate", "-h"], 0),
        ("no-verb", &[], 2),
        ("unknown-verb", &["teleport"], 2),
        ("no-target", &["migrate", "docker:pmm-server"], 2),
        ("no-runs", &["runs"], 0),
        ("no-status", &["status"], 0),
    ] {
        let by = if name.ends_with("runs") || name.ends_with("status") {
            &tool
        } else {
            &bare
        };
        let finished = by.run(words)?;
        assert_eq!(finished.code, code, "{}", finished.shown());
        assert_said(&format!("usage-{name}"), &finished, None);
    }
    Ok(())
}
