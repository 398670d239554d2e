//! The file with the operator's own API key. A file, because arguments and environments can be read by others on the machine.

use std::{io::Read as _, path::Path};

use ferry_proto::Secret;

use super::Failed;

/// No key of Grafana's is nearly as long; a file that is longer is another one.
const LONGEST: u64 = 4096;

/// Reads the key. What is wrong with the file is told without a word of what stands in it.
pub(super) fn read(path: &Path) -> Result<Secret, Failed> {
    let refused = |why: &str| {
        let text = format!("`{}` holds no API key: {why}", path.display());
        Failed::plain("api-key-file", text)
            .hint("write the key, and nothing else, into a file that is yours alone (`chmod 600`)")
    };
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path).map_err(|e| refused(&e.to_string()))?;
    let read = file.take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|e| refused(&e.to_string()))?;
    if bytes.len() as u64 > LONGEST {
        return Err(refused("it is too long"));
    }
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Err(refused("it is empty"));
    }
    // It becomes a header of a request: one line of plain characters.
    match std::str::from_utf8(text) {
        Ok(key) if key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(key)),
        _ => Err(refused(
            "it has other characters than a key has, or more than one line",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_key_is_one_line_and_nothing_of_another_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let of = |content: &[u8]| {
            fs_err::write(&path, content).unwrap();
            read(&path)
        };
        for content in ["eyJrIjoiYWJj==", "glsa_abc_1\n", "  eyJr\r\n"] {
            let key = of(content.as_bytes()).unwrap();
            assert_eq!(key.reveal(), content.trim());
        }
        let long = "x".repeat(4097);
        for content in [
            "",
            " \n",
            "between words",
            "between\nlines",
            "sch\u{f6}n",
            &long,
        ] {
            let failed = of(content.as_bytes()).unwrap_err();
            assert_eq!(failed.problem.code, "api-key-file");
            let told = format!("{:?}", failed.problem);
            assert!(
                !content.contains("between") || !told.contains("between"),
                "{told}"
            );
        }
        assert!(of(b"\xff\xfe").is_err());
        assert!(read(folder.path()).is_err() && read(&folder.path().join("none")).is_err());
    }
}
