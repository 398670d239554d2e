//! Work of the server's own programs that fills the disk of a server that may be running: it is ended while there is room for others.
//!
//! Why beside the look before it: how large a dump becomes is known when it is there, and a server goes on writing meanwhile. What a full disk
//! does to the databases is worse than a run that fails.

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    error::{NO_SPACE, NO_SPACE_HINT, StepError},
    server::ServerError,
    tree::{Shortage, TreeError},
};

/// A look at the room: [`RoomWatch::look`](crate::tree::RoomWatch::look).
type Looked = Result<Option<Shortage>, TreeError>;

/// Between two looks. A disk takes hundreds of MiB in that time, which is what the least reserve of a large one is.
const LOOK: Duration = Duration::from_millis(500);

/// Why work came to nothing.
#[derive(Debug)]
pub(super) enum Ended {
    /// The reserve was begun: the work was ended, or failed for it.
    Short(Shortage),
    Failed(StepError),
}

impl Ended {
    /// Whether what was written has to go at once, because others lack it.
    pub(super) fn is_short(&self) -> bool {
        matches!(self, Self::Short(_))
    }

    /// As the step fails with it. `what` needed the room, in `place`, where by then everything of it was removed.
    pub(super) fn told(self, what: &str, place: &std::path::Path) -> StepError {
        let Shortage { free, reserve } = match self {
            Self::Short(shortage) => shortage,
            Self::Failed(error) => return error,
        };
        let mib = |bytes: u64| bytes >> 20;
        StepError::new(
            NO_SPACE,
            format!(
                "no room for {what} in `{}`: {} MiB were free, and {} MiB of that file system are left for others; it was ended, what it had \
                 written was removed, and nothing of the server's data has changed",
                place.display(),
                mib(free),
                mib(reserve)
            ),
        )
        .hint(NO_SPACE_HINT)
    }
}

/// Does work while there is room, with a token that ends it: `cancel` fires it too.
pub(super) async fn watched<T, F>(
    look: impl Fn() -> Looked,
    cancel: &CancellationToken,
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<T, Ended>
where
    F: Future<Output = Result<T, ServerError>>,
{
    let look = || look().map_err(|error| Ended::Failed(error.into()));
    if let Some(shortage) = look()? {
        return Err(Ended::Short(shortage));
    }
    let stop = cancel.child_token();
    let mut work = std::pin::pin!(work(stop.clone()));
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Some(shortage) = look()? {
            stop.cancel();
            // It ends in order: what a program is at is no longer there when its files are removed.
            let _ended = work.await;
            return Err(Ended::Short(shortage));
        }
    };
    match done {
        Ok(done) => Ok(done),
        // It may have been faster than the looks.
        Err(error) if !cancel.is_cancelled() => match look()? {
            Some(shortage) => Err(Ended::Short(shortage)),
            None => Err(Ended::Failed(error.into())),
        },
        Err(error) => Err(Ended::Failed(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SHORT: Shortage = Shortage {
        free: 400 << 20,
        reserve: 512 << 20,
    };

    fn failed() -> ServerError {
        ServerError::Missing {
            what: "a table",
            why: "a test".into(),
        }
    }

    #[tokio::test]
    async fn with_room_the_works_own_end_counts() {
        let cancel = CancellationToken::new();
        let fine = watched(|| Ok(None), &cancel, |_| async { Ok(7) }).await;
        assert_eq!(fine.unwrap(), 7);
        let error = watched(|| Ok(None), &cancel, |_| async { Err::<(), _>(failed()) });
        let error = error.await.unwrap_err();
        assert!(!error.is_short());
        let told = error.told("the dump of `grafana`", "/srv".as_ref());
        assert_eq!(told.code(), failed().code());
    }

    #[tokio::test]
    async fn without_room_nothing_is_begun() {
        let (begun, cancel) = (Cell::new(false), CancellationToken::new());
        let ended = watched(
            || Ok(Some(SHORT)),
            &cancel,
            |_| {
                begun.set(true);
                async { Ok(()) }
            },
        );
        let ended = ended.await.unwrap_err();
        assert!(!begun.get() && ended.is_short());
        let told = ended.told("the dump of `grafana`", "/srv".as_ref());
        assert_eq!(told.code(), "no-space");
        for words in [
            "the dump of `grafana` in `/srv`",
            "400 MiB",
            "512 MiB",
            "left for others",
        ] {
            assert!(told.to_string().contains(words), "{told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_the_room_is_asked_to_end_and_waited_for() {
        let (looks, cancel) = (Cell::new(0), CancellationToken::new());
        let look = || {
            looks.set(looks.get() + 1);
            Ok((looks.get() > 3).then_some(SHORT))
        };
        let ended = watched(look, &cancel, |stop| async move {
            stop.cancelled().await;
            tokio::time::sleep(LOOK * 4).await;
            Err::<(), _>(failed())
        });
        let began = tokio::time::Instant::now();
        assert!(ended.await.unwrap_err().is_short());
        assert_eq!(began.elapsed(), LOOK * 7);
        assert!(!cancel.is_cancelled(), "only the work was to end");
    }

    #[tokio::test]
    async fn work_that_fails_for_want_of_room_between_two_looks_says_so() {
        let (looks, cancel) = (Cell::new(0), CancellationToken::new());
        let look = || {
            looks.set(looks.get() + 1);
            Ok((looks.get() > 1).then_some(SHORT))
        };
        let ended = watched(look, &cancel, |_| async { Err::<(), _>(failed()) }).await;
        assert!(ended.unwrap_err().is_short());
        // A step that is cancelled is told as that.
        cancel.cancel();
        looks.set(0);
        let ended = watched(look, &cancel, |_| async { Err::<(), _>(failed()) }).await;
        assert!(!ended.unwrap_err().is_short());
    }
}
