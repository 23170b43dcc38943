//! One source file as far as the layers need it: which paths it names, and on which lines.

use std::fs;
use std::path::Path;

pub struct Source {
    /// As a person would give it: `src/bolt/page.rs`.
    pub file: String,
    /// `["bolt", "page"]`; the root files are `["main"]` and `["lib"]`.
    pub module: Vec<String>,
    tokens: Vec<Token>,
    /// `#[path = "FILE"] mod NAME;` of it.
    paths: Vec<(String, String)>,
}

/// A path into this crate, from its root.
pub struct Use {
    pub line: usize,
    pub path: Vec<String>,
}

/// A path into another crate, or the name of a macro with its `!`.
pub struct Foreign {
    pub line: usize,
    pub path: String,
}

/// An identifier, or one character of anything else. Comments and literals leave nothing.
struct Token {
    line: usize,
    text: String,
}

/// A path as it was written.
struct Written {
    line: usize,
    path: Vec<String>,
    /// Modules that were opened with braces around it, in this file.
    inside: Vec<String>,
    /// In a `use`: names that it brings into scope.
    imported: bool,
}

impl Source {
    /// Every file below `src`.
    pub fn all(src: &Path) -> Vec<Source> {
        let mut found = Vec::new();
        let mut dirs = vec![src.to_path_buf()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.extension().is_some_and(|ext| ext == "rs") {
                    let name = path.strip_prefix(src).unwrap().to_str().unwrap();
                    found.push(Source::new(name, &fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found.sort_by(|a, b| a.file.cmp(&b.file));
        let elsewhere: Vec<(String, Vec<String>)> =
            found.iter().flat_map(Source::elsewhere).collect();
        for (file, module) in elsewhere {
            let source = found.iter_mut().find(|source| source.file == file);
            source
                .unwrap_or_else(|| panic!("#[path] names {file}"))
                .module = module;
        }
        found
    }

    /// A file below `src` with this text.
    pub fn new(name: &str, text: &str) -> Source {
        let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
        Source {
            file: format!("src/{name}"),
            module: stem.split('/').map(str::to_owned).collect(),
            tokens: tokens(text),
            paths: paths(text),
        }
    }

    /// Files that are modules of this one although they do not lie below it.
    fn elsewhere(&self) -> Vec<(String, Vec<String>)> {
        let (dir, _) = self.file.rsplit_once('/').unwrap();
        let paths = self.paths.iter();
        paths
            .map(|(file, name)| {
                let module = [self.module.as_slice(), std::slice::from_ref(name)].concat();
                (format!("{dir}/{file}"), module)
            })
            .collect()
    }

    /// Paths into this crate.
    pub fn uses(&self) -> Vec<Use> {
        let paths = self.written().into_iter();
        paths
            .filter_map(|written| {
                let path = self.resolve(&written)?;
                Some(Use {
                    line: written.line,
                    path,
                })
            })
            .collect()
    }

    /// Paths into other crates, followed through what the file imports, and macros.
    pub fn foreign(&self) -> Vec<Foreign> {
        let written = self.written();
        let imports: Vec<&Written> = written.iter().filter(|path| path.imported).collect();
        let mut found = Vec::new();
        for path in &written {
            if self.resolve(path).is_some() {
                continue;
            }
            // `io::stdout` is std's after `use std::io`.
            let import = imports
                .iter()
                .find(|import| !path.imported && import.path.last() == path.path.first());
            let whole = match import {
                Some(import) => [import.path.as_slice(), &path.path[1..]].concat(),
                None => path.path.clone(),
            };
            found.push(Foreign {
                line: path.line,
                path: whole.join("::"),
            });
        }
        for pair in self.tokens.windows(2) {
            if pair[1].text == "!" && is_name(&pair[0].text) {
                found.push(Foreign {
                    line: pair[0].line,
                    path: format!("{}!", pair[0].text),
                });
            }
        }
        found
    }

    /// Lines on which a word occurs in the code.
    pub fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let tokens = self.tokens.iter();
        tokens
            .filter(move |token| token.text == word)
            .map(|token| token.line)
    }

    /// The path from the crate's root, if it is one of ours.
    fn resolve(&self, written: &Written) -> Option<Vec<String>> {
        let is_root = ["main", "lib"].contains(&self.module[0].as_str());
        let own = if is_root { &[] } else { self.module.as_slice() };
        let mut base = [own, &written.inside].concat();
        let mut rest = written.path.as_slice();
        match rest.first()?.as_str() {
            "crate" | "etcd_rescue" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => return None,
        }
        rest = &rest[1..];
        while let [first, more @ ..] = rest
            && first == "super"
        {
            base.pop();
            rest = more;
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// Every `a::b` in the file, and every leaf of every `use`.
    fn written(&self) -> Vec<Written> {
        let mut found = Vec::new();
        // For each open brace, whether a module's.
        let mut braces: Vec<bool> = Vec::new();
        let mut inside: Vec<String> = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            match self.text(at) {
                "{" => {
                    let module = at >= 2 && self.text(at - 2) == "mod";
                    braces.push(module);
                    if module {
                        inside.push(self.text(at - 1).to_owned());
                    }
                }
                "}" if braces.pop() == Some(true) => {
                    inside.pop();
                }
                "use" => {
                    at = self.tree(at + 1, &[], &inside, &mut found);
                    continue;
                }
                name if is_name(name) && self.is_colons(at + 1) => {
                    let mut path = vec![name.to_owned()];
                    let line = self.tokens[at].line;
                    while self.is_colons(at + 1) && is_name(self.text(at + 3)) {
                        at += 3;
                        path.push(self.text(at).to_owned());
                    }
                    found.push(Written {
                        line,
                        path,
                        inside: inside.clone(),
                        imported: false,
                    });
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Reads one tree of a `use` that begins at `at`; returns where it ends.
    fn tree(
        &self,
        mut at: usize,
        prefix: &[String],
        inside: &[String],
        found: &mut Vec<Written>,
    ) -> usize {
        let mut path = prefix.to_vec();
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        loop {
            match self.text(at) {
                "{" => {
                    at += 1;
                    while !["}", ""].contains(&self.text(at)) {
                        at = self.tree(at, &path, inside, found);
                        if self.text(at) == "," {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                // `use a::{self}` is `a`.
                "self" if !path.is_empty() => at += 1,
                name if is_name(name) => {
                    path.push(name.to_owned());
                    at += 1;
                }
                _ => at += 1, // `*`
            }
            if self.is_colons(at) {
                at += 2;
                continue;
            }
            if self.text(at) == "as" {
                at += 2;
            }
            found.push(Written {
                line,
                path,
                inside: inside.to_vec(),
                imported: true,
            });
            return at;
        }
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn is_colons(&self, at: usize) -> bool {
        self.text(at) == ":" && self.text(at + 1) == ":"
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn paths(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pair = |two: &[&str]| {
        let file = two[0].strip_prefix("#[path = \"")?.strip_suffix("\"]")?;
        let name = two[1].strip_prefix("mod ")?.strip_suffix(';')?;
        Some((file.to_owned(), name.to_owned()))
    };
    lines.windows(2).filter_map(pair).collect()
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest).unwrap_or_else(|| {
            let length = name_length(rest).unwrap_or(first.len_utf8());
            if !first.is_whitespace() {
                found.push(Token {
                    line,
                    text: rest[..length].to_owned(),
                });
            }
            length
        });
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

fn name_length(text: &str) -> Option<usize> {
    is_name(text).then(|| {
        text.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len())
    })
}

/// The length of a comment or literal that begins here.
fn skipped(text: &str) -> Option<usize> {
    let ends_with = |end: &str, from: usize| {
        text[from..]
            .find(end)
            .map_or(text.len(), |at| from + at + end.len())
    };
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .iter()
        .find(|prefix| text.starts_with(**prefix))
        .map_or(0, |prefix| prefix.len());
    let hashes = text[prefix..].bytes().take_while(|b| *b == b'#').count();
    let opened = text[prefix + hashes..].starts_with('"');
    if opened && text[..prefix].contains('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(ends_with(&end, prefix + hashes + 1));
    }
    if opened && hashes == 0 {
        return Some(quoted(text, prefix, b'"'));
    }
    // 'x' and '\n' are characters, 'a is a lifetime.
    let mark = text[prefix..].strip_prefix('\'')?;
    let mut chars = mark.chars();
    let is_char = match chars.next()? {
        '\\' => true,
        _ => chars.next() == Some('\''),
    };
    if is_char {
        Some(quoted(text, prefix, b'\''))
    } else {
        (prefix == 0).then_some(1)
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of what is between `quote`s, escapes understood.
fn quoted(text: &str, prefix: usize, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = prefix + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}
