//! How a [`Script`] becomes one line for a host's login shell.

use std::collections::BTreeMap;

use crate::fault::Fault;
use crate::site::Become;
use crate::world::Script;

/// The longest command line: Linux takes 128 KiB for one argument, and sshd hands the whole line to the shell as one.
const LONGEST: usize = 128 * 1024 - 4096;

/// Becomes root, unless the user is root already.
const SUDO: &str = r#"[ "$(id -u)" != 0 ] || exec "$@"; exec sudo -n -- "$@""#;

/// Prints the mark on both outputs, then runs what follows the number of seconds for at most as long, where the host has
/// `timeout`. A command whose connection was given up would live on otherwise. `exit` keeps a shell in between, which turns a
/// signal into 128 + n.
const LOOK: &str = r#"echo "$1"; echo "$1" >&2; shift
if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; exit $?"#;

/// Quotes a word for a login shell: a Bourne shell or fish, to which a backslash between quotes may mean something.
fn quote(word: &str) -> String {
    if !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c)) {
        return word.to_owned();
    }
    let mut quoted = String::from("'");
    for c in word.chars() {
        match c {
            '\'' => quoted.push_str(r"'\''"),
            '\\' => quoted.push_str(r"'\\'"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// Writes the words of a command as one line, quoted for the login shell, with `become` before it.
pub(crate) fn line(elevate: Become, words: &[&str]) -> Result<String, Fault> {
    let sudo = ["sh", "-c", SUDO, "sh"];
    let before: &[&str] = match elevate {
        Become::None => &[],
        Become::Sudo => &sudo,
    };
    let line = before.iter().chain(words).map(|word| quote(word)).collect::<Vec<_>>().join(" ");
    if line.contains('\0') {
        return Err(Fault::refused("a command holds a NUL byte, which no shell can take"));
    }
    if line.len() > LONGEST {
        return Err(Fault::refused("the command with its arguments and environment is too long for SSH")
            .expected(format!("at most {LONGEST} bytes in all"))
            .seen(format!("{} bytes", line.len()))
            .hint("give large data to the command's standard input"));
    }
    Ok(line)
}

/// Writes the line that looks with a script for at most `seconds`, and prints the mark before anything of the script's.
pub(crate) fn look_line(
    script: &Script,
    env: &BTreeMap<String, String>,
    elevate: Become,
    mark: &str,
    seconds: u64,
) -> Result<String, Fault> {
    let (text, seconds) = (text(script, env)?, seconds.max(1).to_string());
    let mut words = vec!["sh", "-c", LOOK, "sh", mark, &seconds, "sh", "-c", &text, "sh"];
    words.extend(script.args.iter().map(String::as_str));
    line(elevate, &words)
}

/// Makes the fault of a host whose login shell, or sudo, ended with a status instead of running what was asked for.
pub(crate) fn not_run(said: &str, status: i32) -> Fault {
    let said = if said.is_empty() { format!("exit status {status}, no output") } else { said.to_owned() };
    if said.contains("sudo:") {
        return Fault::refused("the SSH user cannot become root")
            .expected("`sudo -n` that asks for no password")
            .seen(said)
            .during(format!("sudo -n sh, exit status {status}"))
            .hint("allow it in sudoers (NOPASSWD), or leave `become` out");
    }
    Fault::refused("the login shell of the SSH user did not run the script")
        .expected("a shell that runs `sh -c …`: sh, bash, zsh or fish")
        .seen(said)
        .hint("log in by hand and look; csh and tcsh cannot run it, nor can shells that refuse a login")
}

/// Returns the text of a script with its environment and directory before it.
pub(crate) fn text(script: &Script, env: &BTreeMap<String, String>) -> Result<String, Fault> {
    let mut lines = Vec::new();
    let own = script.env.iter().map(|(name, value)| (name, value));
    for (name, value) in env.iter().chain(own) {
        if !is_variable(name) {
            return Err(Fault::refused(format!("`{name}` is no name for an environment variable"))
                .expected("letters, digits and `_`, not beginning with a digit"));
        }
        lines.push(format!("export {name}={}", shell_words::quote(value)));
    }
    lines.push(match &script.cwd {
        Some(path) if path.starts_with('/') => {
            let path = shell_words::quote(path);
            format!("cd {path} || {{ echo requorum: the directory {path} cannot be entered >&2; exit 126; }}")
        }
        Some(path) => {
            return Err(Fault::refused(format!("`{path}` is no absolute path for the working directory")));
        }
        None => "cd \"${HOME:-/}\" 2>/dev/null || cd /".to_owned(),
    });
    lines.push(script.text.clone());
    Ok(lines.join("\n"))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    fn run(line: &str) -> String {
        let output = Command::new("sh").args(["-c", line]).env("HOME", "/").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn quotes_survive_the_shell() {
        let odd = "a'b\"c $HOME `id` \\ \n*!é";
        let mut script = Script::new("printf %s \"$1$X\"", [odd]);
        script.env = vec![("X".to_owned(), odd.to_owned())];
        let line = look_line(&script, &BTreeMap::new(), Become::None, "mark", 5).unwrap();
        assert_eq!(run(&line), format!("mark\n{odd}{odd}"));
        let line = look_line(&script, &BTreeMap::new(), Become::Sudo, "mark", 5).unwrap();
        if rustix::process::getuid().is_root() {
            assert_eq!(run(&line), format!("mark\n{odd}{odd}"));
        }
    }

    #[test]
    fn no_backslash_stands_between_quotes_where_fish_would_read_it() {
        assert_eq!(quote(r"a\b'c"), r"'a'\\'b'\''c'");
        assert_eq!(quote("=plain"), "'=plain'", "zsh would look for a program");
    }

    #[test]
    fn the_environment_of_the_script_is_laid_over_that_of_the_site() {
        let site = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "1".to_owned())]);
        let mut script = Script::new("echo $A$B; pwd", [""; 0]);
        script.env = vec![("B".to_owned(), "2".to_owned())];
        script.cwd = Some("/usr".to_owned());
        assert_eq!(run(&text(&script, &site).unwrap()), "12\n/usr\n");
    }

    #[test]
    fn what_the_shell_cannot_take_is_refused() {
        let text = |script: &Script| look_line(script, &BTreeMap::new(), Become::None, "mark", 1);
        assert!(text(&Script::new("x".repeat(130_000), [""; 0])).unwrap_err().what.contains("too long"));
        assert!(text(&Script::new("x\0", [""; 0])).unwrap_err().what.contains("NUL"));
        let bad = Script { env: vec![("A;B".to_owned(), String::new())], ..Script::default() };
        assert!(text(&bad).is_err());
        let bad = Script { cwd: Some("here".to_owned()), ..Script::default() };
        assert!(text(&bad).is_err());
    }
}
