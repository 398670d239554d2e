//! SQLite's write-ahead log, looked at before SQLite does.
//!
//! Why: SQLite takes the first frame whose checksum does not fit for the end, and forgets whatever was committed behind it. That is right of
//! an end that is torn, and wrong of a log that is damaged in the middle: runs would be gone on with from an older state, and a lock on a
//! server could be missing. What tells them apart is that a transaction begins only when the one before it is on the disk: where a whole
//! one follows the frame that does not fit, that frame was sound once.
//!
//! The format is described in SQLite's documentation, "WAL-mode File Format".

use std::{io, path::Path, time::Duration};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// With the lowest bit set the checksums are of big-endian words.
const MAGIC: u32 = 0x377f_0682;

/// How often it is read until two looks see the same: somebody may be writing.
const LOOKS: usize = 10;
const BETWEEN: Duration = Duration::from_millis(20);

/// Where the log of the database `file` is damaged before its end; `None`: nowhere, or there is none.
///
/// # Errors
/// When it cannot be read.
pub(super) fn damage(file: &Path) -> io::Result<Option<String>> {
    let log = file.with_extension("db-wal");
    let mut last = read(&log)?;
    for _ in 0..LOOKS {
        if find(&last).is_none() {
            return Ok(None);
        }
        std::thread::sleep(BETWEEN);
        let now = read(&log)?;
        if now == last {
            return Ok(find(&last));
        }
        last = now;
    }
    // Somebody has it open and writes on, who has read all of it.
    Ok(None)
}

fn read(log: &Path) -> io::Result<Vec<u8>> {
    match fs_err::read(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

fn find(log: &[u8]) -> Option<String> {
    let header = log.get(..HEADER)?;
    let (magic, page) = (word(header, 0), word(header, 8));
    let size = FRAME_HEADER + usize::try_from(page).ok()?;
    let mut sum = Sum {
        big_endian: magic & 1 == 1,
        value: (0, 0),
    };
    sum.add(&header[..24]);
    let sound = magic & !1 == MAGIC
        && page.is_power_of_two()
        && (512..=65536).contains(&page)
        && sum.is(header, 24);
    if !sound {
        // It is synced before the first frame is written.
        return (log.len() > HEADER + FRAME_HEADER)
            .then(|| "the beginning of `ferry.db-wal` does not fit its checksum".to_owned());
    }
    let mut broken = None;
    let mut committed_behind = false;
    for (index, frame) in log[HEADER..].chunks_exact(size).enumerate() {
        let mut of_this_log = frame[8..16] == header[16..24];
        if broken.is_none() {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            let fits = sum.is(frame, 16);
            if of_this_log && fits {
                continue;
            }
            broken = Some(index);
            // No checksum covers the words that say so, and what another log has left behind does not fit in here.
            of_this_log |= fits;
        }
        if committed_behind && of_this_log {
            return broken.map(|index| {
                format!(
                    "`ferry.db-wal` does not fit its checksum at byte {}, and more was written behind that",
                    HEADER + index * size
                )
            });
        }
        // The size of the database stands in the last frame of a transaction alone.
        committed_behind |= of_this_log && word(frame, 4) != 0;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

/// The running checksum of a log.
struct Sum {
    big_endian: bool,
    value: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let (mut a, mut b) = self.value;
        for pair in bytes.chunks_exact(8) {
            a = a.wrapping_add(self.read(pair, 0)).wrapping_add(b);
            b = b.wrapping_add(self.read(pair, 4)).wrapping_add(a);
        }
        self.value = (a, b);
    }

    fn read(&self, bytes: &[u8], at: usize) -> u32 {
        let word = word(bytes, at);
        if self.big_endian {
            word
        } else {
            word.swap_bytes()
        }
    }

    /// Whether it is the one that stands there.
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        self.value == (word(bytes, at), word(bytes, at + 4))
    }
}
