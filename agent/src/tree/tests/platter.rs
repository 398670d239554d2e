//! A disk that gives other bytes than it was given, while memory still has the right ones: damaged below the file system.

use std::os::unix::fs::FileExt;

use super::{clock::Image, *};

/// Found nowhere else on the disk, and more than a page of it.
const WORDS: &str = "found nowhere else on this disk; ";

/// Changes a byte wherever the words begin on the disk.
fn damage(image: &Image) -> usize {
    let file = File::options()
        .read(true)
        .write(true)
        .open(image.file())
        .unwrap();
    let bytes = fs::read(image.file()).unwrap();
    let begins = begins_in(&bytes);
    for at in &begins {
        file.write_all_at(b"F", *at).unwrap();
    }
    file.sync_all().unwrap();
    begins.len()
}

fn begins_in(bytes: &[u8]) -> Vec<u64> {
    let pages = bytes.chunks(1024).enumerate();
    let found = pages.filter(|(_, page)| page.starts_with(WORDS.as_bytes()));
    found.map(|(number, _)| number as u64 * 1024).collect()
}

#[test]
fn a_copy_is_proven_from_its_disk_and_not_from_memory() {
    if !is_root() {
        return;
    }
    let Some(image) = Image::with_a_live_pass() else {
        return;
    };
    let name = "folder/large";
    // Blocks begin with the words where their length divides that of a block: it does once, in the first.
    write(&image.srv().join(name), WORDS.repeat(300));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let report = image.pass(Pass::Final, true);
    assert_eq!(report.files_copied, 1, "{report:?}");
    let proof = |image: &Image| {
        let manifest = ManifestFolder::open(&image.at.join("manifests")).unwrap();
        let manifest = manifest.read(Pass::Final).unwrap();
        let (_, copy) = image.roots();
        prove(
            &copy,
            &manifest,
            &ProveOptions::default(),
            &Watch::default(),
        )
        .unwrap()
    };
    assert!(proof(&image).is_proven());
    // The original and its copy.
    assert_eq!(damage(&image), 2);
    assert_eq!(
        fs::read_to_string(image.copy().join(name)).unwrap(),
        WORDS.repeat(300)
    );
    let proof = proof(&image);
    assert!(
        proof
            .differences
            .to_string()
            .contains("folder/large: other content"),
        "{proof:?}"
    );
}
