//! Agents' passwords are kept under a key that lies beside the database, on the same volume, since PMM 3. Who restores the one
//! without the other has lost them: that is what this is here to show, not to be a good cipher.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_postgres::Client;

use crate::Result;

/// The key of `/srv/pmm-encryption.key`, made when there is none.
pub(crate) fn key() -> Result<[u8; 32]> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    use std::io::{Read, Write};
    let path = std::env::var("PMM_ENCRYPTION_KEY_PATH")
        .unwrap_or_else(|_| "/srv/pmm-encryption.key".to_owned());
    if let Ok(text) = fs_err::read_to_string(&path) {
        let bytes = STANDARD.decode(text.trim())?;
        return bytes
            .try_into()
            .map_err(|_| "the encryption key is not 32 bytes long".into());
    }
    let mut key = [0; 32];
    fs_err::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut file = fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(STANDARD.encode(key).as_bytes())?;
    Ok(key)
}

fn stream(key: &[u8; 32], nonce: &[u8], data: &[u8]) -> Vec<u8> {
    let mut pad = vec![0; data.len()];
    blake3::Hasher::new_keyed(key)
        .update(nonce)
        .finalize_xof()
        .fill(&mut pad);
    data.iter().zip(pad).map(|(a, b)| a ^ b).collect()
}

fn seal(key: &[u8; 32], id: &str, plain: &str) -> String {
    let tag = blake3::keyed_hash(key, format!("{id}\0{plain}").as_bytes());
    let tag = &tag.as_bytes()[..16];
    let mut sealed = tag.to_vec();
    sealed.extend(stream(key, tag, plain.as_bytes()));
    STANDARD.encode(sealed)
}

fn open(key: &[u8; 32], id: &str, sealed: &str) -> Option<String> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let (tag, body) = bytes.split_at_checked(16)?;
    let plain = String::from_utf8(stream(key, tag, body)).ok()?;
    (seal(key, id, &plain) == sealed).then_some(plain)
}

/// Seals what is still plain, and proves that what was sealed before can be opened.
pub(crate) async fn agents(client: &mut Client, key: &[u8; 32]) -> Result<()> {
    let transaction = client.transaction().await?;
    let done = transaction
        .query_opt(
            "SELECT item FROM encrypted_items WHERE item = 'agents.password'",
            &[],
        )
        .await?
        .is_some();
    let agents = transaction
        .query(
            "SELECT agent_id, password FROM agents WHERE password IS NOT NULL",
            &[],
        )
        .await?;
    for row in agents {
        let (id, password): (String, String) = (row.get(0), row.get(1));
        if done {
            open(key, &id, &password).ok_or("aead decryption failed")?;
        } else {
            let sealed = seal(key, &id, &password);
            transaction
                .execute(
                    "UPDATE agents SET password = $1 WHERE agent_id = $2",
                    &[&sealed, &id],
                )
                .await?;
        }
    }
    if !done {
        transaction
            .execute(
                "INSERT INTO encrypted_items (item) VALUES ('agents.password')",
                &[],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{open, seal};

    #[test]
    fn only_the_same_key_opens() {
        let sealed = seal(&[7; 32], "a", "secret");
        assert_eq!(open(&[7; 32], "a", &sealed).as_deref(), Some("secret"));
        assert_eq!(open(&[8; 32], "a", &sealed), None);
        assert_eq!(open(&[7; 32], "a", "secret"), None);
    }
}
