//! Commands that are printed to be pasted: what a POSIX shell would change is quoted.

use std::path::Path;

/// A path as one word of a command, never taken for a flag. What is not UTF-8 is replaced.
pub fn path(path: &Path) -> String {
    let path = path.display().to_string();
    match path.strip_prefix('-') {
        Some(rest) if !rest.is_empty() => quote(&format!("./{path}")),
        _ => quote(&path),
    }
}

/// One word of a command, quoted if it has to be.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A whole command.
pub fn command<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_shell_would_change() {
        assert_eq!(quote("/var/lib/etcd"), "/var/lib/etcd");
        assert_eq!(quote("m1=http://10.0.0.1:2380"), "m1=http://10.0.0.1:2380");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("my dir"), "'my dir'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("$HOME;`rm`"), "'$HOME;`rm`'");
        assert_eq!(quote("~root"), "'~root'");
        assert_eq!(command(["mv", "a b", "c"]), "mv 'a b' c");
    }

    #[test]
    fn a_path_is_one_word_and_no_flag() {
        assert_eq!(path(Path::new("/backup/my dir")), "'/backup/my dir'");
        assert_eq!(path(Path::new("-w")), "./-w");
        assert_eq!(path(Path::new("-")), "-");
    }
}
