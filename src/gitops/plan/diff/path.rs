//! Field paths as people read them: `metadata.labels["app.kubernetes.io/name"]`, `containers[web]`.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    pub fn root() -> Self {
        Self::default()
    }

    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.to_owned()))
    }

    /// A list entry, by key or position.
    pub fn item(&self, name: impl Into<String>) -> Self {
        self.with(Step::Item(name.into()))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The top-level field.
    pub fn first(&self) -> Option<&str> {
        match self.0.first()? {
            Step::Field(name) | Step::Item(name) => Some(name),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(name) => write!(f, "[{name}]")?,
                Step::Field(name) if name.contains(['.', '/', ' ', '[']) => write!(f, "[{name:?}]")?,
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}
