//! One thing that a manifest would have to say otherwise: what is set, added or taken out, and where.

use serde_json::Value;

/// A difference of a manifest from what is live.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Keys, and indexes of lists, as the manifest has them.
    pub path: Vec<Step>,
    pub op: Op,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Key(String),
    Index(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The value at the path becomes this one.
    Set(Value),
    /// The map above the path gets its last key.
    Add(Value),
    /// The list above the path gets an entry before the one at its last index, or behind all.
    Insert(Value),
    /// What is at the path goes.
    Remove,
}

impl Op {
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Set(value) | Self::Add(value) | Self::Insert(value) => Some(value),
            Self::Remove => None,
        }
    }

    pub fn value_mut(&mut self) -> Option<&mut Value> {
        match self {
            Self::Set(value) | Self::Add(value) | Self::Insert(value) => Some(value),
            Self::Remove => None,
        }
    }

    /// For people and programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Set(_) => "changed",
            Self::Add(_) | Self::Insert(_) => "added",
            Self::Remove => "removed",
        }
    }
}

impl Change {
    /// `spec.containers[0].image`.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Index(index) => text.push_str(&format!("[{index}]")),
                Step::Key(key) if key.contains(['.', '/']) => text.push_str(&format!("[{key}]")),
                Step::Key(key) => {
                    text.push_str(if text.is_empty() { "" } else { "." });
                    text.push_str(key);
                }
            }
        }
        text
    }

    /// Where the change is made: what it sets or takes out, or what it puts something into.
    pub fn place(&self) -> &[Step] {
        match self.op {
            Op::Set(_) | Op::Remove => &self.path,
            Op::Add(_) | Op::Insert(_) => self.path.split_last().map_or(&[], |(_, above)| above),
        }
    }

    /// Makes it. `None`: the object has no such place.
    pub fn apply(&self, object: &mut Value) -> Option<()> {
        let Some((last, above)) = self.path.split_last() else {
            let Op::Set(new) = &self.op else { return None };
            object.clone_from(new);
            return Some(());
        };
        let holder = above.iter().try_fold(object, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(index),
        })?;
        match (last, &self.op) {
            (Step::Key(key), Op::Add(new)) => {
                if holder.is_null() {
                    *holder = Value::Object(serde_json::Map::new());
                }
                holder.as_object_mut()?.insert(key.clone(), new.clone());
            }
            (Step::Key(key), Op::Set(new)) => holder.get_mut(key)?.clone_from(new),
            (Step::Key(key), Op::Remove) => drop(holder.as_object_mut()?.remove(key)?),
            (Step::Index(index), Op::Set(new)) => holder.get_mut(index)?.clone_from(new),
            (Step::Index(index), op) => {
                let list = holder.as_array_mut()?;
                match op {
                    Op::Insert(new) if *index <= list.len() => list.insert(*index, new.clone()),
                    Op::Remove if *index < list.len() => drop(list.remove(*index)),
                    _ => return None,
                }
            }
            (Step::Key(_), Op::Insert(_)) => return None,
        }
        Some(())
    }
}
