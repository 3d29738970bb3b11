//! YAML bodies, read as Kubernetes reads YAML: 1.1 booleans and octal numbers, no duplicate keys.

use serde_json::Value;

/// One document; bounded in depth and in what aliases expand to.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_people_write() {
        let text = b"mode: 0644\nready: yes\nname: \"on\"\nlist: [1, 2.5, a]\nnothing:\n";
        let expected = json!({"mode": 420, "ready": true, "name": "on", "list": [1, 2.5, "a"], "nothing": null});
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn duplicate_keys_and_bombs_are_refused() {
        assert!(read(b"a: 1\na: 2\n").is_err());
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(read(bomb.as_bytes()).is_err());
        assert!(read(&vec![b'['; 100_000]).is_err());
    }
}
