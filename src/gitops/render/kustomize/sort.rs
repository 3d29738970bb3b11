//! The order objects are printed in.

use super::id::{Gvk, ORDER_FIRST, ORDER_LAST, ResId, rank};
use super::kustomization::SortOptions;
use super::resource::Resource;

/// `legacy` order, unless the options say `fifo`.
pub fn sort(all: &mut [Resource], options: Option<&SortOptions>) -> Result<(), String> {
    let own = options.and_then(|options| options.legacy_sort_options.as_ref());
    match options.map_or("legacy", |options| options.order.as_str()) {
        "fifo" if own.is_none() => return Ok(()),
        "fifo" => return Err("legacySortOptions are for the order legacy, not fifo".to_owned()),
        "legacy" => {}
        other => return Err(format!("no sort order {other:?}: there are legacy and fifo")),
    }
    let (first, last): (Vec<&str>, Vec<&str>) = match own {
        Some(own) => {
            (own.order_first.iter().map(String::as_str).collect(), own.order_last.iter().map(String::as_str).collect())
        }
        None => (ORDER_FIRST.to_vec(), ORDER_LAST.to_vec()),
    };
    all.sort_by_cached_key(|resource| {
        let id = resource.id();
        (rank(&id.gvk.kind, &first, &last), id.gvk.sort_text(), text(&id))
    });
    Ok(())
}

/// By namespace, then name; those without a namespace come last.
fn text(id: &ResId) -> String {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    let Gvk { group, version, kind } = &id.gvk;
    let kind = [or(kind, "[noKind]"), or(version, "[noVer]"), or(group, "[noGrp]")].join(".");
    [kind, or(&id.namespace, "~X"), or(&id.name, "~N")].join("|")
}
