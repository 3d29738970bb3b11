//! What becomes of the refs of a push, before anybody looks at the manifests. Pure.

use super::hook::Update;

/// Refs of one push that are looked at.
const MAX_REFS: usize = 100;

/// What there is to know of the application.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub application: &'a str,
    /// The branch that is deployed.
    pub branch: &'a str,
    /// The commit that it is at now.
    pub tip: Option<&'a str>,
    /// The commit that failed and was taken back.
    pub quarantined: Option<&'a str>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision<'a> {
    /// Nothing of the push is accepted; why, and what to do.
    Refuse(String),
    /// The branch is to go to this commit, if its manifests allow. `left`: refs that are not kept.
    Review { commit: &'a str, left: Vec<&'a str> },
}

pub(super) fn decide<'a>(updates: &'a [Update], known: &Known<'_>) -> Decision<'a> {
    let Known { application, branch, tip, quarantined } = *known;
    let refuse = |why: String| Decision::Refuse(why);
    if updates.len() > MAX_REFS {
        return refuse(format!("a push of {} refs is not looked at: push {branch} alone", updates.len()));
    }
    let (ours, others): (Vec<_>, Vec<_>) =
        updates.iter().partition(|update| update.reference.strip_prefix("refs/heads/") == Some(branch));
    let Some(update) = ours.first() else {
        return refuse(format!(
            "{application} deploys its branch {branch} and keeps no other ref: git push REMOTE HEAD:{branch}"
        ));
    };
    if update.deletes() {
        return refuse(format!(
            "{branch} cannot be deleted: to remove what it deployed, delete the application (selkie delete \
             application {application} -n selkie-system)"
        ));
    }
    let old = Some(update.old.as_str()).filter(|old| old.bytes().any(|digit| digit != b'0'));
    if old != tip {
        return refuse(format!("somebody else pushed to {branch} meanwhile: fetch it, and push again"));
    }
    if quarantined == Some(update.new.as_str()) {
        return refuse(format!(
            "this commit failed before and was taken back: push a newer one, or try it again with `selkie app sync \
             {application} --force`"
        ));
    }
    Decision::Review { commit: &update.new, left: others.iter().map(|other| other.reference.as_str()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "0000000000000000000000000000000000000000";
    const KNOWN: Known<'static> =
        Known { application: "shop", branch: "main", tip: Some("a1"), quarantined: Some("bad") };

    fn updates(lines: &[&str]) -> Vec<Update> {
        lines.iter().filter_map(|line| Update::parse(line)).collect()
    }

    fn refusal(lines: &[&str]) -> String {
        match decide(&updates(lines), &KNOWN) {
            Decision::Refuse(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_branch_counts() {
        let pushed = updates(&["a1 b2 refs/heads/main", "0 c3 refs/tags/v1", "0 c3 refs/heads/main/x"]);
        let left = vec!["refs/tags/v1", "refs/heads/main/x"];
        assert_eq!(decide(&pushed, &KNOWN), Decision::Review { commit: "b2", left });
        assert!(refusal(&["a1 b2 refs/heads/dev"]).contains("git push REMOTE HEAD:main"));
        assert!(refusal(&[]).contains("deploys its branch main"));
    }

    #[test]
    fn a_first_push_finds_nothing_there() {
        let first = updates(&[&format!("{NONE} b2 refs/heads/main")]);
        let known = Known { tip: None, ..KNOWN };
        assert_eq!(decide(&first, &known), Decision::Review { commit: "b2", left: vec![] });
        assert!(refusal(&[&format!("{NONE} b2 refs/heads/main")]).contains("somebody else"));
        assert!(refusal(&["a0 b2 refs/heads/main"]).contains("somebody else"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_way_out() {
        assert!(refusal(&[&format!("a1 {NONE} refs/heads/main")]).contains("selkie delete application shop"));
        assert!(refusal(&["a1 bad refs/heads/main"]).contains("--force"));
        let many: Vec<String> = (0..=MAX_REFS).map(|n| format!("a1 b2 refs/heads/{n}")).collect();
        assert!(refusal(&many.iter().map(String::as_str).collect::<Vec<_>>()).contains("101 refs"));
    }
}
