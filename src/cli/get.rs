//! `selkie get`: the server's own tables, for machines without kubectl.

use super::connection::Connection;
use super::output::one_line;
use super::resources::{self, Asked};
use super::{CliError, Global};
use crate::daemon::Mode;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::process::ExitCode;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// List objects as kubectl get does
#[derive(Args)]
pub struct Get {
    /// TYPE, TYPE NAME... or TYPE/NAME..., e.g. deploy,pods or pod/web
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    what: Vec<String>,
    /// Namespace to look in
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Look in all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Label selector, e.g. app=web
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Print rows only, in tables
    #[arg(long)]
    no_headers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Wide,
    Json,
    Yaml,
    Name,
}

impl Get {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let result = self.answer(&connection).await;
        connection.close().await;
        result
    }

    async fn answer(&self, connection: &Connection) -> Result<ExitCode, CliError> {
        let known = resources::discover(&connection.client).await?;
        let asked = resources::parse(&known, &self.what)?;
        let tables = matches!(self.output, Format::Text | Format::Wide);
        let mut answers = Vec::new();
        for one in &asked {
            let request =
                http::Request::get(self.url(one)).header("Accept", if tables { TABLE } else { "application/json" });
            let request = request.body(Vec::new()).map_err(|error| CliError::new(error.to_string()))?;
            answers.push(connection.client.request::<Value>(request).await?);
        }
        if tables {
            self.print_tables(&asked, &answers);
        } else {
            self.print_objects(&asked, answers)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn url(&self, asked: &Asked) -> String {
        let namespace = (!self.all_namespaces).then_some(self.namespace.as_str());
        let mut url = asked.resource.path(namespace);
        if let Some(name) = &asked.name {
            url = format!("{url}/{name}");
        }
        if let Some(selector) = &self.selector {
            let encoded: String = selector
                .bytes()
                .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
                .collect();
            url = format!("{url}?labelSelector={encoded}");
        }
        url
    }

    fn print_tables(&self, asked: &[Asked], answers: &[Value]) {
        let mut printed = false;
        let wide = self.output == Format::Wide;
        let answered: Vec<(&Asked, &Value)> = asked.iter().zip(answers).collect();
        let same = |a: &Asked, b: &Asked| a.resource.kind() == b.resource.kind();
        let with_type = asked.iter().any(|one| !same(one, &asked[0]));
        for of_kind in answered.chunk_by(|(a, _), (b, _)| same(a, b)) {
            let mut rows = Vec::new();
            for (one, answer) in of_kind {
                let with_namespace = self.all_namespaces && one.resource.namespaced;
                let table = table(answer, wide, with_namespace, with_type, one);
                rows.extend(table.into_iter().skip(usize::from(!rows.is_empty())));
            }
            if rows.len() < 2 {
                continue;
            }
            if printed && !self.no_headers {
                println!();
            }
            let skipped = usize::from(self.no_headers);
            print!("{}", align(&rows[skipped..]));
            printed = true;
        }
        if !printed {
            let place = if self.all_namespaces { String::new() } else { format!(" in {} namespace", self.namespace) };
            eprintln!("No resources found{place}.");
        }
    }

    fn print_objects(&self, asked: &[Asked], answers: Vec<Value>) -> Result<(), CliError> {
        let mut objects = Vec::new();
        for (one, answer) in asked.iter().zip(answers) {
            match answer.get("items").and_then(Value::as_array) {
                Some(items) if one.name.is_none() => objects.extend(items.iter().cloned().map(|mut item| {
                    item["apiVersion"] = json!(one.resource.api.api_version);
                    item["kind"] = json!(one.resource.api.kind);
                    item
                })),
                _ => objects.push(answer),
            }
        }
        if self.output == Format::Name {
            for object in &objects {
                println!("{}", name_of(object));
            }
            return Ok(());
        }
        let single = asked.len() == 1 && asked[0].name.is_some();
        let document =
            if single { objects.swap_remove(0) } else { json!({"apiVersion": "v1", "kind": "List", "items": objects}) };
        match self.output {
            Format::Json => println!("{}", serde_json::to_string_pretty(&document)?),
            _ => print!("{}", super::output::yaml(&document)),
        }
        Ok(())
    }
}

fn name_of(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = text("/kind").to_lowercase();
    let group = text("/apiVersion").split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{kind}{group}/{}", text("/metadata/name"))
}

/// A header and the rows of a table.
fn table(table: &Value, wide: bool, with_namespace: bool, with_type: bool, asked: &Asked) -> Vec<Vec<String>> {
    let columns = table["columnDefinitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<usize> =
        (0..columns.len()).filter(|at| wide || columns[*at]["priority"].as_i64().unwrap_or(0) == 0).collect();
    let mut rows = vec![Vec::new()];
    if with_namespace {
        rows[0].push("NAMESPACE".to_string());
    }
    rows[0].extend(shown.iter().map(|at| columns[*at]["name"].as_str().unwrap_or_default().to_uppercase()));
    for row in table["rows"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let mut cells = Vec::new();
        if with_namespace {
            cells.push(
                row.pointer("/object/metadata/namespace").and_then(Value::as_str).unwrap_or_default().to_string(),
            );
        }
        for at in &shown {
            let cell = match &row["cells"][*at] {
                Value::String(text) => one_line(text),
                Value::Null => "<none>".to_string(),
                other => other.to_string(),
            };
            let is_name = columns[*at]["format"] == "name";
            cells.push(if with_type && is_name { format!("{}/{cell}", asked.resource.kind()) } else { cell });
        }
        rows.push(cells);
    }
    rows
}

/// Columns three spaces apart, as kubectl prints them.
pub fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            line.push_str(cell);
            let pad = widths[at].saturating_sub(width(cell)) + 3;
            line.extend(std::iter::repeat_n(' ', pad));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Characters that show: colours do not.
fn width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).map(|text| text.chars().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["NAME".into(), "AGE".into()], vec!["a-long-name".into(), "3s".into()]];
        assert_eq!(align(&rows), "NAME          AGE\na-long-name   3s\n");
        let green = |text: &str| format!("\u{1b}[32m{text}\u{1b}[0m");
        let rows = vec![vec!["STATUS".into(), "AGE".into()], vec![green("Ready"), "3s".into()]];
        assert_eq!(align(&rows), format!("STATUS   AGE\n{}    3s\n", green("Ready")));
    }
}
