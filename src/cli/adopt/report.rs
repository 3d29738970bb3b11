//! What was written and what was not, for people and for programs. The shape is `selkie.dev/adopt/v1`: fields are
//! added, never changed.

use crate::cli::CliError;
use crate::cli::output::{Either, clean, yaml};
use crate::gitops::adopt::{Adopted, Left};
use crate::gitops::render::Origin;
use serde_json::{Value, json};

pub struct Report {
    dry_run: bool,
    files: Vec<File>,
    pub left: Vec<Left>,
}

pub struct File {
    path: String,
    /// What a dry run would change; `None`: it is written.
    would: Option<Diff>,
    adopted: Adopted,
    /// No value of it is secret.
    shown: bool,
}

enum Diff {
    Lines(String),
    Secret,
}

impl Report {
    pub fn new(dry_run: bool) -> Self {
        Self { dry_run, files: Vec::new(), left: Vec::new() }
    }

    pub fn add(&mut self, path: &str, before: &str, adopted: Adopted, shown: bool) -> Option<&File> {
        let lines =
            || similar::TextDiff::from_lines(before, &adopted.text).unified_diff().header(path, path).to_string();
        let would = self.dry_run.then(|| if shown { Diff::Lines(lines()) } else { Diff::Secret });
        self.files.push(File { path: path.to_owned(), would, adopted, shown });
        self.files.last()
    }

    pub fn print(&self, output: Either) -> Result<(), CliError> {
        match output {
            Either::Text => {
                for Left { origin, why } in &self.left {
                    eprintln!("{origin}: {}", clean(why));
                }
            }
            Either::Json => println!("{}", serde_json::to_string_pretty(&self.value())?),
            Either::Yaml => print!("{}", yaml(&self.value())),
        }
        Ok(())
    }

    fn value(&self) -> Value {
        let left = |left: &Left| place(&left.origin, json!({"why": left.why}));
        json!({
            "schema": "selkie.dev/adopt/v1",
            "dryRun": self.dry_run,
            "files": self.files.iter().map(File::value).collect::<Vec<_>>(),
            "left": self.left.iter().map(left).collect::<Vec<_>>(),
        })
    }
}

impl File {
    pub fn print(&self) {
        let File { path, would, adopted, shown } = self;
        match would {
            Some(Diff::Lines(lines)) => print!("{lines}"),
            Some(Diff::Secret) => {
                for written in &adopted.written {
                    println!("{}: {}: {} would be {}", written.origin, written.object, written.path, written.what);
                }
            }
            None => println!("{path} written"),
        }
        for (line, text) in &adopted.dropped {
            let goes = if would.is_some() { "would go" } else { "went" };
            let text = if *shown { format!(": {}", clean(text)) } else { String::new() };
            eprintln!("{path}:{line}: a comment {goes} with what it was about{text}");
        }
    }

    fn value(&self) -> Value {
        let changes = self.adopted.written.iter().map(|written| {
            let what = json!({"object": written.object, "path": written.path, "change": written.what});
            place(&written.origin, what)
        });
        let comments =
            self.adopted.dropped.iter().map(|(line, text)| {
                if self.shown { json!({"line": line, "text": text}) } else { json!({"line": line}) }
            });
        let mut value = json!({
            "file": self.path,
            "written": self.would.is_none(),
            "changes": changes.collect::<Vec<_>>(),
            "droppedComments": comments.collect::<Vec<_>>(),
        });
        if let Some(Diff::Lines(lines)) = &self.would {
            value["diff"] = lines.clone().into();
        }
        value
    }
}

fn place(origin: &Origin, mut what: Value) -> Value {
    what["file"] = (*origin.file).into();
    what["line"] = origin.line.into();
    what["column"] = origin.column.into();
    what
}
