//! Where in an object the decoder is. Lives on the stack and is written out only for a message.

use crate::api::schema::{Schema, Shape};

/// A chain of steps from the root.
#[derive(Clone, Copy)]
pub struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Key(&'p str),
    Item(usize),
}

impl<'p> Path<'p> {
    pub const ROOT: Self = Path { parent: None, step: Step::Root };

    pub fn field(&'p self, name: &'p str) -> Self {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    pub fn key(&'p self, name: &'p str) -> Self {
        Path { parent: Some(self), step: Step::Key(name) }
    }

    pub fn item(&'p self, index: usize) -> Self {
        Path { parent: Some(self), step: Step::Item(index) }
    }

    /// `spec.containers[0].name`, as strict decoding names fields.
    pub fn full(&self) -> String {
        let mut text = self.parent.map(Path::full).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name) | Step::Key(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Step::Item(index) => text.push_str(&format!("[{index}]")),
        }
        text
    }

    /// `spec.containers.name`, as Go's JSON errors name fields: struct fields only.
    pub fn fields(&self) -> String {
        let mut text = self.parent.map(Path::fields).unwrap_or_default();
        if let Step::Field(name) = self.step {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        }
        text
    }
}

/// The Go type a schema stands for, as Go's JSON errors print it.
pub fn go_type(schema: &Schema) -> String {
    match &schema.shape {
        Shape::Any => "runtime.RawExtension".into(),
        Shape::Boolean => "bool".into(),
        Shape::Integer { bits } => format!("int{bits}"),
        Shape::Number => "float64".into(),
        Shape::Bytes => "[]uint8".into(),
        Shape::String | Shape::Time | Shape::MicroTime | Shape::Duration => "string".into(),
        Shape::Quantity => "resource.Quantity".into(),
        Shape::IntOrString => "int32".into(),
        Shape::Object(_) => format!("v1.{}", struct_name(schema)),
        Shape::Map { values, .. } => format!("map[string]{}", go_type(values)),
        Shape::List { items, .. } => format!("[]{}", go_type(items)),
    }
}

/// `Container` of `io.k8s.api.core.v1.Container`.
pub fn struct_name(schema: &Schema) -> &str {
    schema.name.as_deref().map_or("Object", |name| name.rsplit('.').next().unwrap_or(name))
}
