//! The imports between the files of a crate, read from their text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The module of a file: `["users", "flight"]` for `users/flight.rs`, and nothing for the crate
/// root.
pub(crate) type Module = Vec<String>;

/// The files of one crate with the paths that each uses, without test-only code.
pub(crate) struct SourceTree(BTreeMap<Module, Vec<Named>>);

/// A path in a file, such as `crate::users::Users`.
struct Named {
    path: Vec<String>,
    /// The alias of an imported path.
    alias: Option<String>,
}

/// A file, and another whose items it uses.
pub(crate) type Edge = (Module, Module);

impl SourceTree {
    /// Reads all `.rs` files below `folder`, which has a `lib.rs` or a `main.rs`, or both.
    pub(crate) fn read(folder: &Path) -> Self {
        let files = rust_files(folder).into_iter();
        Self::parse(files.map(|file| (module(folder, &file), fs::read_to_string(&file).unwrap())))
    }

    /// As [`read`](Self::read), from the text of each file.
    pub(crate) fn parse(files: impl IntoIterator<Item = (Module, String)>) -> Self {
        let (mut modules, mut tests) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
        for (module, text) in files {
            tests.extend(test_modules(&text).map(|name| child(&module, name)));
            modules.entry(module).or_default().extend(paths(without_tests(&text)));
        }
        modules.retain(|module: &Module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self(modules)
    }

    /// Returns every pair of files where the first uses an item of the second.
    pub(crate) fn imports(&self) -> BTreeSet<Edge> {
        self.edges(0)
    }

    /// Returns the edges of import circles between the files of one module. A file and those below
    /// it count as one, so a parent that re-exports items of its children is no circle.
    pub(crate) fn circles(&self) -> BTreeSet<Edge> {
        let edges = self.edges(RE_EXPORTS);
        let parents = self.0.keys().filter_map(|module| module.split_last()).map(|(_, parent)| parent);
        parents.flat_map(|parent| circles(siblings(parent, &edges))).collect()
    }

    /// Returns every pair of files where the first uses an item that the second defines, following
    /// at most `re_exports` re-exports.
    fn edges(&self, re_exports: usize) -> BTreeSet<Edge> {
        let edges = self.0.iter().flat_map(|(from, named)| {
            let targets = named.iter().filter_map(move |named| self.resolve(from, &named.path, re_exports));
            targets.map(|to| (from.clone(), to))
        });
        edges.filter(|(from, to)| from != to).collect()
    }

    /// Returns the file that defines `path` as used in the file `from`, or nothing for another
    /// crate.
    fn resolve(&self, from: &[String], path: &[String], re_exports: usize) -> Option<Module> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let (base, rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (from.to_vec(), &path[1..]),
            "super" => (from[..from.len().checked_sub(supers)?].to_vec(), &path[supers..]),
            first if self.0.contains_key(&child(from, first)) => (from.to_vec(), path),
            _ => return None,
        };
        let mut module = base;
        let mut rest = rest.iter().filter(|part| *part != "self");
        for part in rest.by_ref() {
            let below = child(&module, part);
            if !self.0.contains_key(&below) {
                return Some(self.re_exported(&module, part, rest, re_exports).unwrap_or(module));
            }
            module = below;
        }
        Some(module)
    }

    /// Returns the file that defines `name`, which the file `module` imports.
    fn re_exported<'a>(
        &self,
        module: &[String],
        name: &str,
        rest: impl Iterator<Item = &'a String>,
        re_exports: usize,
    ) -> Option<Module> {
        let named = self.0.get(module)?.iter().find(|named| named.alias.as_deref() == Some(name))?;
        let path: Vec<_> = named.path.iter().cloned().chain(rest.cloned()).collect();
        self.resolve(module, &path, re_exports.checked_sub(1)?)
    }
}

/// Returns the edges between the children of `parent`, each child with all below it.
fn siblings(parent: &[String], edges: &BTreeSet<Edge>) -> BTreeSet<Edge> {
    let depth = parent.len() + 1;
    let below = |module: &Module| module.len() >= depth && module.starts_with(parent);
    let edges = edges.iter().filter(|(from, to)| below(from) && below(to));
    let edges = edges.map(|(from, to)| (from[..depth].to_vec(), to[..depth].to_vec()));
    edges.filter(|(from, to)| from != to).collect()
}

/// Removes edges from files that nothing imports and to files that import nothing.
fn circles(mut edges: BTreeSet<Edge>) -> BTreeSet<Edge> {
    loop {
        let count = edges.len();
        let [from, to]: [BTreeSet<_>; 2] = [
            edges.iter().map(|edge| edge.0.clone()).collect(),
            edges.iter().map(|edge| edge.1.clone()).collect(),
        ];
        edges.retain(|edge| to.contains(&edge.0) && from.contains(&edge.1));
        if edges.len() == count {
            return edges;
        }
    }
}

/// The files that `text` declares for tests only.
fn test_modules(text: &str) -> impl Iterator<Item = &str> {
    let marked = [TESTS, FUZZING].into_iter().flat_map(|marker| text.split(marker).skip(1));
    let declared = marked.filter_map(|rest| rest.trim_start().split_once(';'));
    declared.filter_map(|(item, _)| item.rsplit_once("mod ")).map(|(_, name)| name)
}

/// What comes before the tests at the end of a file.
fn without_tests(text: &str) -> &str {
    text.split_once(&format!("{TESTS}\nmod tests {{")).map_or(text, |(before, _)| before)
}

/// The paths in a file, in its imports and in its code.
fn paths(text: &str) -> Vec<Named> {
    let tokens = tokens(text);
    let mut tokens = tokens.iter().map(String::as_str).peekable();
    let mut found = Vec::new();
    while let Some(token) = tokens.next() {
        match token {
            // Not the bound `use<'a>`.
            "use" if tokens.peek() != Some(&"<") => imports(&mut tokens, &[], &mut found),
            // Skips the rest of a path that starts with another name.
            "::" => drop(tokens.next()),
            _ if is_word(token) && tokens.peek() == Some(&"::") => {
                let mut path = vec![token.to_owned()];
                while tokens.next_if_eq(&"::").is_some() {
                    path.extend(tokens.next_if(|token| is_word(token)).map(ToOwned::to_owned));
                }
                found.push(Named { path, alias: None });
            }
            _ => {}
        }
    }
    found
}

/// Reads a tree of imports up to its end: `a::{b, c as d}`.
fn imports<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    prefix: &[String],
    found: &mut Vec<Named>,
) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.next_if(|token| !matches!(*token, "," | "}" | ";")) {
        match token {
            "{" => {
                while tokens.peek().is_some_and(|token| *token != "}") {
                    imports(tokens, &path, found);
                    tokens.next_if_eq(&",");
                }
                tokens.next();
                return;
            }
            "as" => {
                let alias = tokens.next().map(ToOwned::to_owned);
                return found.push(Named { path, alias });
            }
            "::" => {}
            part => path.push(part.to_owned()),
        }
    }
    let alias = path.iter().rfind(|part| *part != "self").cloned();
    found.push(Named { path, alias });
}

/// Splits a file into words and signs, without comments and string literals.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let taken = match first {
            _ if word > 0 => word,
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            // A quotation mark alone.
            _ if rest.starts_with("'\"'") => 3,
            '"' => quoted(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(taken);
        if !token.starts_with(['"', '/']) && !token.trim().is_empty() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

/// The length of the literal that `text` begins with, with its quotation marks.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn child(module: &[String], name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

fn module(folder: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(folder).unwrap().with_extension("");
    let parts = path.iter().map(|part| part.to_str().unwrap().to_owned());
    let parts: Module = parts.collect();
    if matches!(parts[..], [ref root] if ROOTS.contains(&root.as_str())) { Module::new() } else { parts }
}

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

const TESTS: &str = "#[cfg(test)]";
/// What tests and fuzz targets share.
const FUZZING: &str = r#"#[cfg(any(test, feature = "fuzzing"))]"#;
const ROOTS: [&str; 2] = ["lib", "main"];
// The limit of re-exports to follow.
const RE_EXPORTS: usize = 8;
