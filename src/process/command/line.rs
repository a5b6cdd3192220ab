//! Defines the getters of a command, and formats the shell command line that `Debug` shows.

use super::Command;
use core::fmt::{self, Write};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Getters with std's names. As in std, the getters return `<string-with-nul>` for a program, argument or
/// directory that contains a NUL.
///
/// # Examples
///
/// ```
/// use rawpipe::process::Command;
/// use std::path::Path;
///
/// let mut command = Command::new("make");
/// command.args(["-j", "all"]).env("CC", "clang").env_remove("CFLAGS").current_dir("/src");
/// assert_eq!(command.get_program(), "make");
/// assert!(command.get_args().eq(["-j", "all"]));
/// let envs: Vec<_> = command.get_envs().map(|(name, value)| (name, value.is_some())).collect();
/// assert_eq!(envs, [("CC".as_ref(), true), ("CFLAGS".as_ref(), false)]);
/// assert_eq!(command.get_current_dir(), Some(Path::new("/src")));
/// assert_eq!(format!("{command:?}"), "cd /src && env -u CFLAGS CC=clang make -j all");
/// ```
impl Command<'_> {
    /// Returns the program that was passed to [`new`](Self::new).
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        OsStr::from_bytes(self.program.to_bytes())
    }

    /// Returns all arguments except argument 0, in order.
    pub fn get_args(&self) -> impl Iterator<Item = &OsStr> {
        self.args.iter().map(|arg| OsStr::from_bytes(arg.to_bytes()))
    }

    /// Returns the changes to the environment, ordered by the names of the variables. A removed variable has
    /// the value `None`. The result does not show whether [`env_clear`](Self::env_clear) was called.
    pub fn get_envs(&self) -> impl Iterator<Item = (&OsStr, Option<&OsStr>)> {
        let changes = self.environment.changes.iter();
        changes
            .map(|(name, value)| (OsStr::from_bytes(name), value.as_deref().map(OsStr::from_bytes)))
    }

    /// Returns the directory in which the child starts, or `None` if the child starts in this process's
    /// directory.
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.folder.as_ref().map(|folder| Path::new(OsStr::from_bytes(folder.to_bytes())))
    }
}

/// Formats a shell command line that starts the program. The line includes the directory, the changes to the
/// environment (with `env(1)`), and the arguments. The line shows neither streams nor descriptors nor any
/// other setting. If argument 0 was set separately, the line sets it with `bash`, which adds variables
/// (`PWD`, `SHLVL`, `_`).
///
/// Words are quoted for any POSIX shell. Control characters other than newline, and bytes that are not valid
/// UTF-8, are written in the form `"$(printf '\377')"`. A newline is written unchanged. If the program's name
/// contains no slash, the shell may treat it as a keyword, builtin, function or alias. `env` accepts neither
/// a variable name that begins with `-` nor a program whose name contains `=`. A command that cannot be
/// started because of a NUL or an invalid name has no valid line.
impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(folder) = &self.folder {
            let folder = folder.to_bytes();
            // Without `./`, the shell would search CDPATH for the directory, and would treat `-` as the
            // previous directory.
            let here = if folder.starts_with(b"/") { "" } else { "./" };
            write!(f, "cd {here}{} && ", Word(folder))?;
        }
        let environment = &self.environment;
        if environment.cleared || !environment.changes.is_empty() {
            f.write_str(if environment.cleared { "env -i " } else { "env " })?;
            for (name, _) in environment.changes.iter().filter(|(_, value)| value.is_none()) {
                write!(f, "-u {} ", Word(name))?;
            }
            for (name, value) in &environment.changes {
                if let Some(value) = value {
                    write!(f, "{}={} ", Word(name), Word(value))?;
                }
            }
        }
        if let Some(name) = &self.arg0 {
            write!(f, "bash -c 'exec -a \"$0\" \"$@\"' {} ", Word(name.to_bytes()))?;
        }
        write!(f, "{}", Word(self.program.to_bytes()))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", Word(arg.to_bytes())))
    }
}

/// Bytes that are formatted as one word of a shell command line, and quoted if necessary.
struct Word<'a>(&'a [u8]);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./,:+@%".contains(byte);
        let quote = if !self.0.is_empty() && self.0.iter().all(plain) { "" } else { "'" };
        f.write_str(quote)?;
        let octal = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "'\"$(printf '\\{byte:03o}')\"'"))
        };
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '\'' => f.write_str("'\\''")?,
                    '\n' => f.write_char('\n')?,
                    _ if letter.is_control() => {
                        octal(f, letter.encode_utf8(&mut [0; 4]).as_bytes())?;
                    }
                    _ => f.write_char(letter)?,
                }
            }
            octal(f, chunk.invalid())?;
        }
        f.write_str(quote)
    }
}
