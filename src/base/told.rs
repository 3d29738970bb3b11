//! What was said before, so that what does not change is said once.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Told(BTreeMap<String, String>);

impl Told {
    /// Takes in all that there is to say now, by what it is about; what of it was not said the last time. What is said no
    /// more is news when it comes back.
    pub fn news(&mut self, said: BTreeMap<String, String>) -> Vec<(String, String)> {
        let before = std::mem::replace(&mut self.0, said);
        let is_new = |(what, why): &(&String, &String)| before.get(*what) != Some(*why);
        self.0.iter().filter(is_new).map(|(what, why)| (what.clone(), why.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(what, why)| ((*what).to_owned(), (*why).to_owned())).collect()
    }

    #[test]
    fn what_does_not_change_is_said_once() {
        let mut told = Told::default();
        let mut news =
            |list: &[(&str, &str)]| told.news(all(list)).into_iter().map(|(what, _)| what).collect::<Vec<_>>();
        assert_eq!(news(&[("a", "1"), ("b", "1")]), ["a", "b"]);
        assert_eq!(news(&[("a", "1"), ("b", "2")]), ["b"]);
        assert!(news(&[("a", "1"), ("b", "2")]).is_empty());
        assert!(news(&[("b", "2")]).is_empty());
        assert_eq!(news(&[("a", "1"), ("b", "2")]), ["a"], "it was over in between");
    }
}
