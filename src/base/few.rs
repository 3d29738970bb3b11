//! A map for a handful of entries that is kept in large numbers: it takes what they take, where a tree takes a
//! node with room for eleven.

/// In no order that means anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Few<V>(Vec<(Box<str>, V)>);

impl<V> Default for Few<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Few<V> {
    pub fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().find(|(known, _)| **known == *key).map(|(_, value)| value)
    }

    /// The value of `key`, made if it is not there.
    pub fn at(&mut self, key: &str) -> &mut V
    where
        V: Default,
    {
        let place = self.0.iter().position(|(known, _)| **known == *key).unwrap_or_else(|| {
            self.0.reserve_exact(1);
            self.0.push((key.into(), V::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| **known != *key);
    }

    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(key, _)| keep(key));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_map() {
        let mut few = Few::default();
        *few.at("a") = 1;
        *few.at("b") = 2;
        *few.at("a") += 10;
        assert_eq!((few.get("a"), few.get("b"), few.get("c")), (Some(&11), Some(&2), None));
        few.retain(|key| key != "b");
        few.values_mut().for_each(|value| *value *= 2);
        assert_eq!(few.values().copied().collect::<Vec<_>>(), [22]);
        few.remove("a");
        assert!(few.is_empty());
    }
}
