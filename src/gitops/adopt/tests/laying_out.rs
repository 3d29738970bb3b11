//! Where the parts of a text are found.

use super::super::layout::{Form, Layout};

#[test]
fn comments_are_told_from_what_looks_like_them() {
    let text = "# head\na: 'x # no' # one\nb: \"# no\"#no\nc: w#no\nd: | # two\n  # no\n  y\n# three\ne: # four\n- [1, # five\n   2]\n";
    let text = &text.replace("\"# no\"#no", "\"# no\"");
    let layout = Layout::of(text).unwrap();
    let comments: Vec<&str> = layout.comments().into_iter().map(|at| &text[at]).collect();
    assert_eq!(comments, ["# head", "# one", "# two", "# three", "# four", "# five"]);
}

#[test]
fn values_are_found_with_their_ends() {
    let text = "a: &x !!str v # c\nb: |+\n  t\n\nc:\n-\n- k:\n  l: {m: [1]}\n# end\n";
    let layout = Layout::of(text).unwrap();
    let entries = layout.roots[0].entries();
    let shown = |at: usize| &text[entries[at].value.start..entries[at].value.end];
    assert_eq!((shown(0), shown(1)), ("v", "|+\n  t\n"));
    assert_eq!(&text[entries[0].value.whole..entries[0].value.start], "&x !!str ");
    assert_eq!(shown(2), "-\n- k:\n  l: {m: [1]}");
    let items = entries[2].value.items();
    assert!(matches!(items[0].value.form, Form::Empty));
    assert_eq!((layout.line(items[1].dash), layout.column(items[1].value.start)), (7, 2));
    assert!(Layout::of("a: [").is_none());
}

#[test]
fn a_comment_behind_a_block_without_a_text_is_one() {
    for text in ["a: 1\nnote: | # fill in", "a: 1\nnote: | # fill in\n", "a: 1\nnote: | # fill in\nb: 2\n"] {
        let layout = Layout::of(text).unwrap();
        let comments: Vec<&str> = layout.comments().into_iter().map(|at| &text[at]).collect();
        assert_eq!(comments, ["# fill in"], "{text:?}");
    }
}

#[test]
fn a_tag_ends_before_what_closes_a_list() {
    for text in ["a: [!!str]\n", "a: [!!str, x]\n"] {
        let layout = Layout::of(text).unwrap();
        let item = &layout.roots[0].entries()[0].value.items()[0].value;
        assert_eq!(item.end, text.find("!!str").unwrap() + 5, "{text:?}");
    }
}
