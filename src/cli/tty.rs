//! Asking for a password on the terminal, without echo, and leaving the terminal as it was.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

use super::signals;
use crate::error::{Error, Result};

/// Asks for the password of a user. Fails where there is no terminal to ask on.
pub fn ask_password(user: &str) -> Result<String> {
    let cannot_ask = |why: &str| {
        Error::usage(format!("--user {user}: no password, and {why}")).hint(format!(
            "--user {user} --password-file FILE, or --user {user}:PASSWORD"
        ))
    };
    let no_terminal = || cannot_ask("no terminal to ask on");
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| no_terminal())?;
    // There the terminal stops whoever touches it, and who is told to end by a signal that is caught stays stopped.
    if tcgetpgrp(&terminal).is_ok_and(|front| front != getpgrp()) {
        return Err(cannot_ask("nobody can be asked from the background"));
    }
    let silence = Silence::begin(&terminal).map_err(|_| no_terminal())?;
    let broken = |error| Error::failed("cannot read from the terminal").because(error);
    write!(&terminal, "Password of {user}: ").map_err(broken)?;
    let password = read_line(&terminal);
    // The newline that was not echoed.
    writeln!(&terminal).map_err(broken)?;
    drop(silence);
    password
}

/// While it lives, the terminal echoes nothing and hands over single characters, waiting for each no
/// longer than a tenth of a second, so that a signal is noticed.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Silence<'_> {
    fn begin(terminal: &File) -> rustix::io::Result<Silence<'_>> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        silent.special_codes[SpecialCodeIndex::VMIN] = 0;
        silent.special_codes[SpecialCodeIndex::VTIME] = 1;
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Silence { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// A line, with the three editing keys that people use on passwords.
fn read_line(mut terminal: &File) -> Result<String> {
    const LONGEST: usize = 4096;
    let mut line = Vec::new();
    loop {
        signals::check()?;
        let mut byte = [0];
        let count = match terminal.read(&mut byte) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
            result => result
                .map_err(|error| Error::failed("cannot read from the terminal").because(error))?,
        };
        if count == 0 {
            continue;
        }
        match byte {
            [b'\n' | b'\r' | 0x04] => break,
            // Backspace takes one character, which may be several bytes.
            [0x08 | 0x7f] => while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {},
            // Control-U takes the line.
            [0x15] => line.clear(),
            [byte] if line.len() < LONGEST => line.push(byte),
            _ => return Err(Error::usage("this is too long for a password")),
        }
    }
    String::from_utf8(line).map_err(|_| Error::usage("the password is not UTF-8 text"))
}
