//! A program on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use mcsa_tests::eventually_within;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};

use super::*;

/// A program that runs on a terminal of its own.
pub(super) struct Terminal {
    child: Child,
    terminal: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs the program on a terminal of this size, in rows and columns.
    pub(super) fn run(command: &Command, size: (u16, u16)) -> anyhow::Result<Self> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        resize(&terminal, size)?;
        let program = open(
            ptsname(&terminal, Vec::new())?,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let (command, program) = (command.as_std(), File::from(program));
        // The program's session gets the terminal, so that the kernel signals changes of its size.
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        session.stdin(program.try_clone()?).stdout(program.try_clone()?).stderr(Stdio::from(program));
        let child = session.kill_on_drop(true).spawn()?;
        drop(session);
        let terminal = File::from(terminal);
        let shown = Arc::<Mutex<String>>::default();
        let (mut output, text) = (terminal.try_clone()?, shown.clone());
        // Ends when the program does.
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let read = String::from_utf8_lossy(&bytes[..length]);
                text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&read);
            }
        });
        Ok(Self { child, terminal, shown })
    }

    /// Presses Enter until the program prints this.
    pub(super) async fn shows(&mut self, expected: &str) {
        eventually_within(DEADLINE, format!("the terminal shows {expected:?}"), async || {
            (&self.terminal).write_all(b"\n")?;
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            ensure!(shown.contains(expected), "{shown:?}");
            anyhow::Ok(())
        })
        .await;
    }

    /// Changes the size of the terminal.
    pub(super) fn resize(&self, size: (u16, u16)) -> anyhow::Result<()> {
        resize(&self.terminal, size)
    }

    /// Types Ctrl-D, and returns the program's exit code.
    pub(super) async fn end(mut self) -> anyhow::Result<Option<i32>> {
        self.terminal.write_all(b"\x04")?;
        Ok(self.child.wait().await?.code())
    }
}

fn resize(terminal: impl std::os::fd::AsFd, (rows, columns): (u16, u16)) -> anyhow::Result<()> {
    Ok(tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
}
