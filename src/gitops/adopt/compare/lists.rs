//! Differences of lists: by key where the schema names keys, as sets, or entry by entry.

use super::{Change, Compare, Op, Own, Step, described};
use crate::api::schema::{ListKind, Schema, Shape};
use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Fields that tell the entries of a list apart where there is no schema to say.
const USUAL_KEYS: [&str; 6] = ["name", "key", "containerPort", "port", "mountPath", "ip"];

/// Lists with names in which the order has a meaning.
const ORDERED: [&str; 3] = ["containers", "initContainers", "env"];

impl Compare<'_> {
    pub(super) fn list(
        &mut self,
        set: &[Value],
        kept: Option<&Value>,
        live: &[Value],
        schema: Option<&Schema>,
        own: Own<'_>,
    ) {
        let kept = kept.and_then(Value::as_array).filter(|kept| kept.len() == set.len());
        if set == live || kept.is_some_and(|kept| kept == live) {
            return;
        }
        let (items, kind) = match schema.map(|schema| &schema.shape) {
            Some(Shape::List { items, kind, .. }) => (Some(&**items), Some(kind)),
            _ => (None, None),
        };
        // What is applied as one value is all the manifest's.
        let is_granular = matches!(kind, Some(ListKind::Set | ListKind::Map(_)));
        let is_untouched = !is_granular && matches!(own, Own::Nothing);
        let own = if is_granular { own } else { Own::All };
        let list = List { set, kept: kept.map_or(set, Vec::as_slice), knows: kept.is_some(), live, items };
        let before = self.found.len();
        let inserted = match (kind, list.keys(schema)) {
            (Some(ListKind::Set), _) => self.set(&list, own),
            (_, Some(keys)) => self.keyed(&list, own, &keys),
            (_, None) => self.positional(&list, own),
        };
        if is_untouched && self.found.len() == before {
            // Nobody whose additions count has set it: entries that are only added are others'.
            return;
        }
        let depth = self.path.len() + 1;
        let is_removal = |change: &Change| change.op == Op::Remove && change.path.len() == depth;
        let removed = self.found[before..].iter().filter(|change| is_removal(change)).count();
        if removed > 0 && removed == set.len() {
            // A list in a file cannot lose all that it has and go on.
            self.found.truncate(before);
            let left = inserted.into_iter().map(|(_, value)| value).collect();
            return self.push(Op::Set(Value::Array(left)));
        }
        self.insert(before, inserted);
    }

    /// Puts the new entries between the changes of those that there are.
    fn insert(&mut self, before: usize, inserted: Vec<(usize, Value)>) {
        let depth = self.path.len();
        let index = |change: &Change| match change.path.get(depth) {
            Some(Step::Index(index)) => *index,
            _ => 0,
        };
        for (at, value) in inserted {
            let mut path = self.path.clone();
            path.push(Step::Index(at));
            // Behind the changes of the entries before, and the new ones at the same place; before those of the
            // entry that it comes before.
            let is_before = |change: &Change| {
                let is_new = change.path.len() == depth + 1 && matches!(change.op, Op::Insert(_));
                index(change) < at || (index(change) == at && is_new)
            };
            let place = before + self.found[before..].iter().take_while(|change| is_before(change)).count();
            self.found.insert(place, Change { path, op: Op::Insert(value) });
        }
    }

    fn entry(&mut self, list: &List<'_>, index: usize, live: Option<&Value>, own: Own<'_>) {
        self.path.push(Step::Index(index));
        match live {
            Some(Value::Null) if !list.set[index].is_null() => self.push(Op::Set(Value::Null)),
            Some(live) => {
                let kept = list.knows.then(|| &list.kept[index]);
                self.value(&list.set[index], kept, live, list.items, own);
            }
            None => self.push(Op::Remove),
        }
        self.path.pop();
    }

    /// The new entries, with the indexes that they come before.
    fn keyed(&mut self, list: &List<'_>, own: Own<'_>, keys: &[String]) -> Vec<(usize, Value)> {
        let names: Vec<String> = list.kept.iter().map(|item| name(item, keys)).collect();
        let live_names: Vec<String> = list.live.iter().map(|item| name(item, keys)).collect();
        for (index, own_name) in names.iter().enumerate() {
            let partner = live_names.iter().position(|live| live == own_name).map(|at| &list.live[at]);
            self.entry(list, index, partner, partner.map_or(Own::Nothing, |live| own.item(live)));
        }
        let mut inserted = Vec::new();
        let known = |live: &String| names.iter().position(|name| name == live);
        let is_ordered = matches!(self.path.last(), Some(Step::Key(key)) if ORDERED.contains(&key.as_str()));
        let order: Vec<usize> = live_names.iter().filter_map(known).collect();
        if is_ordered && !order.is_sorted() && !matches!(own, Own::Nothing) {
            self.left.push((described(&self.path), "the entries have another order: move them by hand".to_owned()));
        }
        // At the end, unless they stand before one that the manifest has.
        let mut after = live_names.iter().any(|live| known(live).is_some()).then_some(0);
        for (live_name, item) in live_names.iter().zip(list.live) {
            if let Some(index) = known(live_name) {
                after = Some(index + 1);
                continue;
            }
            let Some(mut new) = own.item(item).of(item) else { continue };
            // An entry is nothing without its keys.
            if let Some(fields) = new.as_object_mut() {
                let missing = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
                fields.extend(missing);
            }
            inserted.push((after.unwrap_or(list.set.len()), new));
        }
        inserted
    }

    fn set(&mut self, list: &List<'_>, own: Own<'_>) -> Vec<(usize, Value)> {
        for index in (0..list.kept.len()).filter(|index| !list.live.contains(&list.kept[*index])) {
            self.entry(list, index, None, own);
        }
        let new = list.live.iter().filter(|item| !list.kept.contains(item));
        new.filter_map(|item| Some((list.set.len(), own.item(item).of(item)?))).collect()
    }

    fn positional(&mut self, list: &List<'_>, own: Own<'_>) -> Vec<(usize, Value)> {
        let texts = |list: &[Value]| list.iter().map(Value::to_string).collect::<Vec<_>>();
        let mut inserted = Vec::new();
        for op in capture_diff_slices(Algorithm::Myers, &texts(list.kept), &texts(list.live)) {
            if let DiffOp::Equal { .. } = op {
                continue;
            }
            let (old, new) = (op.old_range(), op.new_range());
            let pairs = old.len().min(new.len());
            for index in old.clone() {
                let partner = new.clone().take(pairs).nth(index - old.start).map(|at| &list.live[at]);
                self.entry(list, index, partner, partner.map_or(Own::Nothing, |live| own.item(live)));
            }
            let added = new.skip(pairs).map(|at| &list.live[at]);
            inserted.extend(added.filter_map(|item| Some((old.end, own.item(item).of(item)?))));
        }
        inserted
    }
}

struct List<'a> {
    set: &'a [Value],
    /// As the server would keep them; else as they are.
    kept: &'a [Value],
    /// Whether the server's form is known.
    knows: bool,
    live: &'a [Value],
    items: Option<&'a Schema>,
}

impl List<'_> {
    /// By what entries are found again.
    fn keys(&self, schema: Option<&Schema>) -> Option<Vec<String>> {
        let unique = |keys: &Vec<String>| is_unique(self.kept, keys) && is_unique(self.live, keys);
        let candidates: Vec<Vec<String>> = match schema.map(|schema| &schema.shape) {
            Some(Shape::List { kind, patch, .. }) => {
                let keys = match kind {
                    ListKind::Map(keys) => Some(keys.iter().map(ToString::to_string).collect()),
                    _ => None,
                };
                let merge_key = patch.as_ref().and_then(|patch| patch.merge_key.as_ref());
                keys.into_iter().chain(merge_key.map(|key| vec![key.to_string()])).collect()
            }
            None | Some(Shape::Any) => USUAL_KEYS.iter().map(|key| vec![(*key).to_owned()]).collect(),
            _ => Vec::new(),
        };
        candidates.into_iter().find(unique)
    }
}

/// All entries are maps that have at least one of the keys, and no two are the same.
fn is_unique(list: &[Value], keys: &[String]) -> bool {
    if list.iter().any(|item| keys.iter().all(|key| item.get(key).is_none())) {
        return false;
    }
    let mut names: Vec<String> = list.iter().map(|item| name(item, keys)).collect();
    names.sort();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// `"web"`; of several keys `8080/"TCP"`.
fn name(item: &Value, keys: &[String]) -> String {
    let parts: Vec<String> = keys.iter().map(|key| item.get(key).map(Value::to_string).unwrap_or_default()).collect();
    parts.join("/")
}
