//! Tells the story: plain words, times, colours where there is a terminal.

use std::time::Instant;

use anstream::println;
use anstyle::{AnsiColor, Style};

use crate::steps::Kept;

const TITLE: Style = Style::new().bold();
const STEP: Style = AnsiColor::Cyan.on_default().bold();
const DONE: Style = AnsiColor::Green.on_default();
const COMMAND: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// Prints steps, with the time that each took.
pub struct Narrator {
    begun: Instant,
    step_begun: Instant,
    steps: usize,
}

impl Narrator {
    /// Begins the story.
    pub fn new() -> Self {
        Self { begun: Instant::now(), step_begun: Instant::now(), steps: 0 }
    }

    /// How long the story has lasted.
    pub fn elapsed(&self) -> std::time::Duration {
        self.begun.elapsed()
    }

    /// What it is about.
    pub fn title(&self, text: &str) {
        println!("\n{TITLE}{text}{TITLE:#}");
    }

    /// What is done next.
    pub fn step(&mut self, text: &str) {
        self.steps += 1;
        self.step_begun = Instant::now();
        println!("\n{STEP}{}. {text}{STEP:#}", self.steps);
    }

    /// What came of it.
    pub fn done(&self, text: &str) {
        let seconds = self.step_begun.elapsed().as_secs_f64();
        println!("   {DONE}✓ {text}{DONE:#} {QUIET}({seconds:.1} s){QUIET:#}");
    }

    /// What a user would type.
    pub fn command(&self, text: &str) {
        println!("   {COMMAND}$ {text}{COMMAND:#}");
    }

    /// What a program said.
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

    /// What to try after the clusters are gone.
    pub fn next_steps(&self) {
        println!("\n{TITLE}What to try next{TITLE:#}");
        println!("   Keep the clusters, and look around:");
        self.command("cargo run --example quickstart -- --keep");
        println!("   With clusters of your own: README.md, \"Link your clusters\".\n");
    }

    /// What to try while the clusters are there.
    pub fn next_steps_kept(&self, kept: &Kept) {
        println!("\n{TITLE}What to try next{TITLE:#}");
        println!("   The clusters, the importer and the webhook keep running. Point kubectl at them:");
        self.command(&format!("export KUBECONFIG={}", kept.kubeconfig.display()));
        self.command("kubectl --context c1 get serviceaccountimports --all-namespaces");
        self.command("kubectl --context c1 -n demo describe serviceaccountimport c2-pod-lister");
        println!("   Break something, and watch it being repaired:");
        self.command("kubectl --context c1 -n demo delete secret c2-pod-lister-token");
        self.command("kubectl --context c1 -n demo get secrets --watch");
        println!("   The mount, for any Kubernetes client:");
        self.command(&format!("kubectl --kubeconfig {} get pods", kept.mounted_config.display()));
        println!("   Done? Stop it all:");
        self.command(&kept.stop_command);
        println!();
    }
}
