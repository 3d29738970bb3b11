//! `selkie app list`.

use super::{Format, api, object};
use crate::cli::connection::Connection;
use crate::cli::get::align;
use crate::cli::output::{one_line, yaml};
use crate::cli::status;
use crate::cli::{CliError, Global};
use crate::daemon::Mode;
use clap::Args;
use kube::api::ListParams;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show the applications, at which revision they are, and what holds them up
#[derive(Args)]
pub struct List {
    /// Output format; json and yaml are the Application objects
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl List {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let found = api(&connection.client).list(&ListParams::default()).await;
        connection.close().await;
        let objects = found?.items.iter().map(object).collect::<Result<Vec<_>, _>>()?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        match self.output {
            Format::Json => println!("{}", serde_json::to_string_pretty(&list)?),
            Format::Yaml => print!("{}", yaml(&list)),
            Format::Name => {
                for object in &objects {
                    println!("application.selkie.dev/{}", text(&object["metadata"]["name"]));
                }
            }
            Format::Text if objects.is_empty() => {
                eprintln!("There are no applications. Add one with `selkie app add NAME=SOURCE`.");
            }
            Format::Text => anstream::print!("{}", align(&rows(&objects))),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(objects: &[Value]) -> Vec<Vec<String>> {
    let header = ["NAME", "STATUS", "REVISION", "NUMBER", "OBJECTS", "SOURCE", "MESSAGE"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for object in objects {
        let line = status::application(object);
        let number = match object["status"]["revisionNumber"].as_u64() {
            Some(0) | None => "-".to_owned(),
            Some(number) => number.to_string(),
        };
        rows.push(vec![
            text(&line["name"]),
            status::painted(&text(&line["status"])),
            text(&line["revision"]),
            number,
            line["objects"].to_string(),
            text(&line["source"]),
            one_line(&text(&line["message"])),
        ]);
    }
    rows
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_applications_as_text() {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message});
        let application = |name: &str, number: u64, conditions: Vec<Value>| {
            json!({"metadata": {"name": name}, "spec": {"source": {"repoURL": "https://me:secret@host/shop.git"}},
                "status": {"revision": "0123456789abcdef", "revisionNumber": number, "inventory": [{}], "conditions": conditions}})
        };
        let shown = align(&rows(&[
            application("shop", 3, vec![condition("Ready", "True", "Ready", "")]),
            application("blog", 0, vec![condition("Synced", "False", "Suspended", "spec.suspend is set")]),
            application("bad", 12, vec![condition("Synced", "False", "Failed", "web.yaml:2:1: no kind \"X\" in v1")]),
        ]));
        assert!(!shown.contains("secret"));
        insta::assert_snapshot!(anstream::adapter::strip_str(&shown).to_string());
        insta::assert_snapshot!(shown.replace('\u{1b}', "␛"));
    }
}
