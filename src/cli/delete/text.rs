//! The preview of a deletion, for people.

use super::preview::{Data, Going, Preview};
use crate::api::changeset::ObjectId;
use crate::cli::output::color::{DELETE, FAINT, STRONG, WARNING, paint};
use crate::cli::output::{clean, count};
use crate::gitops::render::describe;
use std::fmt::Write;

pub fn text(preview: &Preview) -> String {
    let mut text = String::new();
    if preview.objects.is_empty() {
        return "Nothing of this is there: nothing would be deleted.\n".to_owned();
    }
    for going in &preview.objects {
        line(&mut text, going);
    }
    for data in &preview.data {
        let _ = writeln!(text, "{}", of_data(data));
    }
    let along = preview.objects.iter().filter(|going| going.with.is_some()).count();
    let lost = preview.data.iter().filter(|data| data.fate == "deleted").count();
    let (all, pods, data) = (preview.objects.len(), count(preview.pods, "pod"), count(lost, "claim"));
    let _ = writeln!(
        text,
        "{} {} to delete, {along} of them along with others; {pods} to end, the data of {data} to lose.",
        paint(STRONG, "Dry run:"),
        count(all, "object")
    );
    text
}

fn line(text: &mut String, going: &Going) {
    let name = paint(STRONG, clean(&describe(&going.id)));
    let mut notes = Vec::new();
    if let Some(with) = &going.with {
        notes.push(format!("with {}", describe(with)));
    }
    if !going.host.is_empty() {
        notes.push(format!("on {}", going.host));
    }
    if !going.volumes.is_empty() {
        notes.push(format!("its {} too", going.volumes.join(", ")));
    }
    let notes = if notes.is_empty() { String::new() } else { format!("  {}", clean(&notes.join(", "))) };
    let _ = writeln!(text, "{} {name}{}", paint(DELETE, "  -"), paint(FAINT, notes));
    let mut warn = |what: String| {
        let _ = writeln!(text, "      {} {}", paint(WARNING, "!"), clean(&what));
    };
    if let Some(maker) = &going.made_again_by {
        warn(format!("{} makes it again", describe(maker)));
    }
    if !going.finalizers.is_empty() {
        warn(format!("it is there until someone takes away {}", going.finalizers.join(", ")));
    }
    if !going.stuck.is_empty() {
        warn(format!("it stays, with all that it holds, until that is mended: {}", going.stuck));
    }
    if !going.waits_for.is_empty() {
        warn(format!("it is there until these are gone: {}", names(&going.waits_for)));
    }
}

fn of_data(data: &Data) -> String {
    let lost = data.fate == "deleted";
    let (sign, style) = if lost { ("  !", DELETE) } else { ("  =", FAINT) };
    let size = if data.size.is_empty() { "its data" } else { &data.size };
    let policy = match data.reclaim_policy.as_str() {
        "" => String::new(),
        policy => format!(", reclaim policy {policy}"),
    };
    let said = format!("{size} {} (volume {}{policy}): {}", data.fate, data.volume, data.reason);
    format!("{} {}  {}", paint(style, sign), paint(STRONG, clean(&describe(&data.claim))), clean(&said))
}

/// The first few.
fn names(ids: &[ObjectId]) -> String {
    const SHOWN: usize = 3;
    let shown = ids.iter().take(SHOWN).map(describe).collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN { format!("{shown} and {} more", ids.len() - SHOWN) } else { shown }
}
