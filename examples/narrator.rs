//! Prints the steps and their durations, with colors on a terminal.

use std::time::Instant;

use anstream::println;
use anstyle::{AnsiColor, Style};

/// The style of titles.
pub const TITLE: Style = Style::new().bold();
const STEP: Style = AnsiColor::Cyan.on_default().bold();
const DONE: Style = AnsiColor::Green.on_default();
const COMMAND: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// Prints steps and their durations.
pub struct Narrator {
    start: Instant,
    step_start: Instant,
    steps: usize,
}

impl Narrator {
    pub fn new() -> Self {
        Self { start: Instant::now(), step_start: Instant::now(), steps: 0 }
    }

    /// Time since [`Narrator::new`].
    pub fn elapsed(&self) -> std::time::Duration {
        self.start.elapsed()
    }

    pub fn title(&self, text: &str) {
        println!("\n{TITLE}{text}{TITLE:#}");
    }

    /// Begins a step.
    pub fn step(&mut self, text: &str) {
        self.steps += 1;
        self.step_start = Instant::now();
        println!("\n{STEP}{}. {text}{STEP:#}", self.steps);
    }

    /// Ends the step with its result.
    pub fn done(&self, text: &str) {
        let seconds = self.step_start.elapsed().as_secs_f64();
        println!("   {DONE}✓ {text}{DONE:#} {QUIET}({seconds:.1} s){QUIET:#}");
    }

    /// A command that a user would run.
    pub fn command(&self, text: &str) {
        println!("   {COMMAND}$ {text}{COMMAND:#}");
    }

    /// The output of a command.
    pub fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("   {line}");
        }
    }

    /// A manifest, without its comments.
    pub fn yaml(&self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            println!("   {QUIET}{line}{QUIET:#}");
        }
    }

    /// A table of two columns.
    pub fn table(&self, title: &str, rows: &[(&str, String)]) {
        println!("\n{TITLE}{title}{TITLE:#}");
        for (name, value) in rows {
            println!("   {name:44} {value}");
        }
    }
}
