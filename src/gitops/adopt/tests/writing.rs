//! Each kind of change, in each style of text.

use super::*;

#[test]
fn maps_get_and_lose_keys() {
    let before = map(
        "data:\n    # how many\n    a: \"1\" # one\n    b: 2\n    # the third\n    c: 3 # three\n\nother:\n  k: v\n",
    );
    let text = written(&before, |live| {
        let data = live["data"].as_object_mut().unwrap();
        data.remove("b");
        data.insert("d".into(), json!({"x": [1, {"yy": "z"}], "name": "nn"}));
        live["new"] = json!("yes");
    });
    let after = map(
        "data:\n    # how many\n    a: \"1\" # one\n    # the third\n    c: 3 # three\n    d:\n        name: nn\n        x:\n        \
         - 1\n        - yy: z\n\nother:\n  k: v\nnew: \"yes\"\n",
    );
    // Four columns and two are as frequent: the file's first has the say.
    assert_eq!(
        text,
        after.replace(
            "        name: nn\n        x:\n        - 1\n        - yy: z",
            "      name: nn\n      x:\n      - 1\n      - yy: z"
        )
    );

    let (adopted, _) = run(&before, |live| drop(live["data"].as_object_mut().unwrap().remove("c")));
    assert_eq!(adopted.text, map("data:\n    # how many\n    a: \"1\" # one\n    b: 2\n\nother:\n  k: v\n"));
    assert_eq!(adopted.dropped, [(8, "# the third".to_owned()), (9, "# three".to_owned())]);
    // The last one goes with the map that it was in, or leaves an empty one.
    assert_eq!(
        written(&before, |live| drop(live.as_object_mut().unwrap().remove("other"))),
        before.replace("\nother:\n  k: v\n", "\n")
    );
    assert_eq!(written(&before, |live| live["other"] = json!({})), before.replace("other:\n  k: v\n", "other: {}\n"));
    let other = before.replace("other:\n  k: v\n", "other:\n  w: 1\n");
    assert_eq!(written(&before, |live| live["other"] = json!({"w": 1})), other);
    // The first words of a file are about all of it.
    let headed = format!("# Mine.\n{}", map("z: 1\n").replace("apiVersion: v1\n", "a: 1\napiVersion: v1\n"));
    assert_eq!(written(&headed, |live| drop(live.as_object_mut().unwrap().remove("a"))), headed.replace("a: 1\n", ""));
}

#[test]
fn scalars_maps_lists_and_nothing_take_each_others_places() {
    let before = map(
        "a: 1 # one\nb:\n  # inside\n  k: v\n  l: w # last\nc: # three\n- x\n- y\nd:\ne: {}\nf: [] # six\ng: ~\nh: null\n",
    );
    let (adopted, _) = run(&before, |live| {
        live["a"] = json!({"k": ["v"]});
        live["b"] = json!("text");
        live["c"] = json!({"k": 1});
        live["d"] = json!({"k": {"l": 2}});
        live["e"]["k"] = json!(true);
        live["e"]["l"] = json!([]);
        live["f"] = json!(["one", {"k": 2}]);
        live["g"] = json!(5);
    });
    assert_eq!(adopted.left, []);
    assert_eq!(
        adopted.text,
        map(
            "a: # one\n  k:\n  - v\nb: text\nc: # three\n  k: 1\nd:\n  k:\n    l: 2\ne:\n  k: true\n  l: []\nf: # six\n- one\n- k: 2\n\
             g: 5\nh: null\n"
        )
    );
    assert_eq!(adopted.dropped, [(6, "# inside".to_owned()), (8, "# last".to_owned())]);
    let items = map("l:\n- 1\n- k: 1\n  m: 2\n-   - x\n- # why\n  k: 5\n- {a: 1}\n");
    let text = written(&items, |live| live["l"] = json!([{"k": 1}, 7, {"z": [1]}, "s", "t"]));
    assert_eq!(text, map("l:\n- k: 1\n- 7\n-   z:\n    - 1\n- s # why\n- t\n"));
}

#[test]
fn entries_of_lists_are_changed_added_and_taken_out() {
    let before = map(
        "one:\n# the first\n- name: a # A\n  image: a:1\n# the second\n- name: b\n  image: b:1 # B\n\n- name: c\n  image: c:1\n\
         two:\n    - x # X\n    - y\n    # last\n    - z\n",
    );
    let text = written(&before, |live| {
        live["one"] = json!([{"name": "0", "image": "nn"}, {"name": "a", "image": "a:2"}, {"name": "nn", "args": ["-v"]}, {"name": "c", "image": "c:1"}]);
        live["two"] = json!(["w", "x", "z", "zz"]);
    });
    assert_eq!(
        text,
        map(
            "one:\n- name: \"0\"\n  image: nn\n# the first\n- name: a # A\n  image: a:2\n- name: nn\n  args:\n  - -v\n\n- name: c\n  image: c:1\n\
             two:\n    - w\n    - x # X\n    # last\n    - z\n    - zz\n"
        )
    );
    let (adopted, _) = run(&before, |live| {
        live["one"].as_array_mut().unwrap().remove(1);
        live["two"] = json!([]);
    });
    assert_eq!(
        adopted.text,
        map("one:\n# the first\n- name: a # A\n  image: a:1\n\n- name: c\n  image: c:1\ntwo: []\n")
    );
    let dropped: Vec<_> = adopted.dropped.iter().map(|(line, text)| format!("{line} {text}")).collect();
    assert_eq!(dropped, ["8 # the second", "10 # B", "15 # X", "17 # last"]);
    // Lists of lists, and keys in the line of a dash.
    let nested = map("m:\n- - 1\n  - 2\n- - 3\no:\n- a: 1\n  # b's\n  b: 2\n- c: 1\n  d: 2\n");
    let text = written(&nested, |live| {
        live["m"] = json!([[0, 1, 2], [3, 4]]);
        live["o"] = json!([{"b": 2}, {"d": 2, "e": "x\ny"}]);
    });
    assert_eq!(
        text,
        map("m:\n- - 0\n  - 1\n  - 2\n- - 3\n  - 4\no:\n-\n  # b's\n  b: 2\n- d: 2\n  e: |-\n    x\n    y\n")
    );
    assert_eq!(written(&nested, |live| live["m"] = json!([[2], [3]])), nested.replace("- - 1\n  - 2", "- - 2"));
}

#[test]
fn texts_of_several_lines_are_written_as_blocks() {
    let before = map(
        "data:\n  a: |- # why\n    one\n      two\n\n    three\n  b: >\n    words that are folded\n    over lines\n\n    and more\n  c: |+\n    keep\n\n  \
         d: plain # d\n  e: \"x\\ny\" # e\n  f: |2\n      in\n    out\n  g: 'q'\n",
    );
    let text = written(&before, |live| {
        live["data"]["a"] = json!("one\n  two\nthree and\n");
        live["data"]["b"] = json!("words that are folded over lines and much more of them\nand more\n");
        live["data"]["c"] = json!("keep\nthis\n\n\n");
        live["data"]["d"] = json!("now\nmany\n");
        live["data"]["e"] = json!("x\nz");
        live["data"]["f"] = json!("    in\n out\n");
        live["data"]["g"] = json!("it's\n#no comment: \"\\\n\ttab");
        live["data"]["h"] = json!("  first\n");
    });
    assert_eq!(
        text,
        map(
            "data:\n  a: | # why\n    one\n      two\n    three and\n  b: >\n    words that are folded over lines and\n    much more of them\n\n    and more\n  \
             c: |+\n    keep\n    this\n\n\n  d: | # d\n    now\n    many\n  e: \"x\\nz\" # e\n  f: |2\n        in\n     out\n  g: |-\n    it's\n    \
             #no comment: \"\\\n    \ttab\n  h: |2\n      first\n"
        )
    );
    let text = written(&before, |live| {
        live["data"]["a"] = json!("one");
        live["data"]["b"] = json!(" ");
        live["data"]["c"] = json!({"k": 1});
        live["data"]["d"] = json!("bell \u{7}\nand \u{2028}");
        live["data"].as_object_mut().unwrap().remove("f");
    });
    assert_eq!(
        text,
        map(
            "data:\n  a: one # why\n  b: \" \"\n  c:\n    k: 1\n  d: \"bell \\u0007\\nand \\u2028\" # d\n  e: \"x\\ny\" # e\n  g: 'q'\n"
        )
    );
    let list = map("args:\n- a\n- |\n  sh\n  -c\n- z\n");
    let text = written(&list, |live| live["args"] = json!(["b\nc", "sh\n-d\n", "z\n", "n\nm"]));
    assert_eq!(text, map("args:\n- |-\n  b\n  c\n- |\n  sh\n  -d\n- |\n  z\n- |-\n  n\n  m\n"));
}

#[test]
fn braces_and_brackets_stay() {
    let before = map(
        "a: {x: 1, \"y\": [1, 2], z: } # flow\nb: [a, {k: v}, 'c']\nc: {\n  one: 1, # first\n  two: 2 # second\n}\nd: {e: {f: {g: 1}}}\n",
    );
    let text = written(&before, |live| {
        live["a"] = json!({"x": {"k": "a, b"}, "y": [0, 1, 2, 3], "z": "t\nu", "o": "{"});
        live["b"] = json!(["a", {"k": "v", "l": [true]}, "d", "e"]);
        live["c"]["three"] = json!({"k": 1});
        live["d"]["e"]["f"] = json!({});
    });
    assert_eq!(
        text,
        map(
            "a: {x: {k: \"a, b\"}, \"y\": [0, 1, 2, 3], z: \"t\\nu\", o: \"{\" } # flow\nb: [a, {k: v, l: [true]}, 'd', e]\nc: {\n  one: 1, # first\n  \
             two: 2, # second\n  three: {k: 1}\n}\nd: {e: {f: {}}}\n"
        )
    );
    let (adopted, _) = run(&before, |live| {
        live["a"] = json!({"z": null});
        live["b"] = json!(["a", {"k": "v"}]);
        live["c"] = json!({"two": 2});
    });
    assert_eq!(adopted.left, []);
    assert_eq!(adopted.text, map("a: {z: } # flow\nb: [a, {k: v}]\nc: {\n  two: 2 # second\n}\nd: {e: {f: {g: 1}}}\n"));
    assert_eq!(adopted.dropped, [(7, "# first".to_owned())]);
    let text = written(&before, |live| {
        live["c"] = json!({"one": 1});
        live["b"].as_array_mut().unwrap().remove(0);
    });
    assert_eq!(text, before.replace("one: 1, # first\n  two: 2 # second\n", "one: 1 # first\n").replace("[a, {", "[{"));
}

#[test]
fn json_stays_json() {
    let before = "{\n    \"apiVersion\": \"v1\",\n    \"kind\": \"ConfigMap\",\n    \"metadata\": {\"name\": \"a\"},\n    \"data\": {\n        \"a\": \"1\",\n        \"b\": {}\n    },\n    \"list\": [\n        {\"name\": \"x\"}\n    ]\n}\n";
    let text = written_as("a.json", before, |live| {
        live["data"] = json!({"a": "x\ny", "b": {"k": [1, "z"]}, "c": {"d": true}});
        live["list"] = json!([{"name": "x", "v": null}, {"name": "y"}]);
        live["n"] = json!(1.5);
    });
    let _: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        text,
        "{\n    \"apiVersion\": \"v1\",\n    \"kind\": \"ConfigMap\",\n    \"metadata\": {\"name\": \"a\"},\n    \"data\": {\n        \"a\": \"x\\ny\",\n        \"b\": {\n            \"k\": [\n                1,\n                \"z\"\n            ]\n        },\n        \"c\": {\n            \"d\": true\n        }\n    },\n    \"list\": [\n        {\"name\": \"x\"},\n        {\n            \"name\": \"y\"\n        }\n    ],\n    \"n\": 1.5\n}\n"
    );
    let gone = written_as("a.json", before, |live| {
        live["data"] = json!({"b": {}});
        live.as_object_mut().unwrap().remove("list");
    });
    let _: Value = serde_json::from_str(&gone).unwrap();
    assert_eq!(
        gone,
        before
            .replace("        \"a\": \"1\",\n", "")
            .replace(",\n    \"list\": [\n        {\"name\": \"x\"}\n    ]\n}", "\n}")
    );
}

#[test]
fn other_documents_line_ends_and_marks_stay() {
    let one = "\u{feff}# one\r\napiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: a}\r\ndata:\r\n  k: v # c\r\n  t: |\r\n    x\r\n    y\r\n---\r\n\r\n---\r\n";
    let two = "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: b}\r\ndata: {k: v}";
    let text = format!("{one}{two}");
    let rendered = read(&text);
    let live: Vec<Value> = rendered
        .objects
        .iter()
        .map(|manifest| {
            let mut live = manifest.value.clone();
            live["data"]["k"] = json!("w");
            live["data"]["m"] = json!("p\nq\n");
            live["data"]["t"] = json!("x\nz\n");
            live["nn"] = json!({"o": 1});
            as_kubectl(&mut live);
            live
        })
        .collect();
    let objects: Vec<_> = rendered.objects.iter().zip(&live).collect();
    let adopted = adopt(&text, &objects, &NO_RULES, "", read);
    assert_eq!(adopted.left, []);
    let one = one
        .replace("k: v # c", "k: w # c")
        .replace("    y\r\n", "    z\r\n  m: |\r\n    p\r\n    q\r\nnn:\r\n  o: 1\r\n");
    let two = two.replace("{k: v}", "{k: w, m: \"p\\nq\\n\", t: \"x\\nz\\n\"}\r\nnn:\r\n  o: 1");
    assert_eq!(adopted.text, format!("{one}{two}"));
}

#[test]
fn items_of_a_list_object_are_written_in_there() {
    let text = "apiVersion: v1\nkind: List\nitems:\n  # first\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata:\n      name: a\n    data:\n      k: v\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: b}\n";
    let written = written(text, |live| {
        live["data"] = json!({"k": "w", "l": "x\ny\n"});
        live["more"] = json!([1]);
    });
    assert_eq!(
        written,
        text.replace("      k: v\n", "      k: w\n      l: |\n        x\n        y\n    more:\n      - 1\n")
            .replace("      - 1", "    - 1")
            .replace("    more:\n    - 1", "    more:\n      - 1")
    );
}

#[test]
fn tags_and_odd_keys_are_no_hindrance() {
    let before = map("a: !!str 5 # five\nb: !mine {k: 1}\n? c\n: 1\n'd e': 1\n1: x\nyes: y\n");
    let text = written(&before, |live| {
        live["a"] = json!("six");
        live["b"]["k"] = json!(2);
        live["c"] = json!(2);
        live["d e"] = json!(2);
        live["1"] = json!("z");
        live["true"] = json!("z");
    });
    assert_eq!(text, map("a: !!str six # five\nb: !mine {k: 2}\n? c\n: 2\n'd e': 2\n1: z\nyes: z\n"));
}

#[test]
fn json_in_a_yaml_file_stays_json() {
    let before =
        "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}, \"data\": {\"a\": 1}}\n";
    let text = written(before, |live| live["data"] = json!({"a": "x", "b": {"k": ["v"]}}));
    assert_eq!(text, before.replace("{\"a\": 1}", "{\"a\": \"x\", \"b\": {\"k\": [\"v\"]}}"));
}

#[test]
fn a_tag_without_a_value_is_no_hindrance_in_brackets() {
    let (adopted, _) = run(&map("a: [!!str]\n"), |live| live["a"] = json!(["", "x"]));
    assert!(adopted.text.starts_with(&map("a: [!!str")), "{}", adopted.text);
}

#[test]
fn variables_of_an_application_stay() {
    let before = map(
        "image: nginx:${TAG} # which one\nreplicas: ${COUNT}\nports:\n- name: http\n  port: ${PORT}\n- name: adm\n  \
         port: 9090\nargs: [\"--a=${TAG}\", \"--b\"]\nsecret: \"pg://${PW:=hunter2}@db\"\nplain: a\n",
    );
    let mut variables = Variables::new(true);
    for (name, value) in [("TAG", "1.2"), ("COUNT", "3"), ("PORT", "8080"), ("PW", "x")] {
        variables.set(name, value).unwrap();
    }
    let read = |text: &str| {
        let kinds = FixedKinds::new(&[("v1", "ConfigMap", true)]);
        let settings = Settings { namespace: "default", variables: Some(&variables) };
        render_with(&Snapshot::of(&[("a.yaml", text)]), &kinds, settings)
    };
    let run = |change: &dyn Fn(&mut Value)| {
        let rendered = read(&before);
        let mut live = rendered.objects[0].value.clone();
        assert_eq!((&live["replicas"], &live["ports"][0]["port"]), (&json!(3), &json!(8080)));
        change(&mut live);
        as_kubectl(&mut live);
        adopt(&before, &[(&rendered.objects[0], &live)], &NO_RULES, "", read)
    };
    let adopted = run(&|live| live["plain"] = json!("b"));
    assert_eq!((adopted.text, adopted.left), (before.replace("plain: a", "plain: b"), Vec::new()));

    let adopted = run(&|live| {
        live["image"] = json!("httpd:1.2");
        live["secret"] = json!("pg://x@other");
        live["plain"] = json!("b");
        live["args"] = json!(["--c", "--d"]);
    });
    assert_eq!(adopted.text, before.replace("plain: a", "plain: b"));
    let left = adopted.left.iter().map(|left| left.why.as_str()).collect::<Vec<_>>().join("\n");
    for part in ["image: ${TAG} stands there, which has another", "args", "secret: ${PW} stands there"] {
        assert!(left.contains(part), "no {part:?} in {left}");
    }
    assert!(!left.contains("hunter2"), "{left}");
    // What would be a variable in the file is none in what is live.
    let adopted = run(&|live| live["plain"] = json!("${TAG}"));
    assert_eq!((adopted.text, adopted.left.len()), (before.clone(), 1));
}
