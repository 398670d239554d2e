//! Gives the server's data to callers who may read it. Only where this agent was started to do so: on a machine that a server runs on
//! without a container.
//!
//! The walk and the reading are threads' work; each message waits until the caller has taken those before it, so that a slow caller
//! costs no memory here.

use std::{path::PathBuf, pin::Pin, sync::Arc};

use ferry_proto::v1::{
    BaselinePiece, FilePiece, ListTreeRequest, ReadBaselineRequest, ReadFilesRequest, TreePart,
    tree_service_server::TreeService,
};
use futures_util::Stream;
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{Receiver, Sender, channel},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::handlers::status;
use crate::{
    blocking,
    error::StepError,
    runner::Runner,
    steps::check_at_rest,
    tree::{self, CancelFlag, Quiet, Root, TreeError, Watch},
};

/// Messages under way to one caller.
const UNDER_WAY: usize = 8;
/// Calls at once, each of which has a thread. One pull makes two, and calls whose connection was lost take a while to be noticed; the
/// threads are those of the steps too, of which a reader must not take all.
const CALLS: usize = 16;

/// A piece of the baseline has no more bytes.
const PIECE: usize = 1 << 20;

type Answer<T> = Result<T, Status>;

/// The tree service over an agent beside a server.
#[derive(Debug, Clone)]
pub(super) struct Trees {
    runner: Arc<Runner>,
    calls: Arc<Semaphore>,
}

impl Trees {
    pub(super) fn new(runner: Arc<Runner>) -> Self {
        Self {
            runner,
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }

    fn data(&self) -> Result<PathBuf, Status> {
        let container = self.runner.surroundings().container().map_err(status)?;
        Ok(container.data.clone())
    }

    /// A place among the calls; it is free again when this is dropped.
    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.calls).try_acquire_owned();
        place.map_err(|_| {
            let what = format!("{CALLS} calls read the data here already");
            status(
                StepError::new("tree-busy", what).hint("wait for the other pulls, then try again"),
            )
        })
    }

    async fn at_rest(&self) -> Result<(), Status> {
        let container = self.runner.surroundings().container().map_err(status)?;
        check_at_rest(container).await.map_err(status)
    }
}

#[tonic::async_trait]
impl TreeService for Trees {
    type ListTreeStream = Pin<Box<dyn Stream<Item = Answer<TreePart>> + Send>>;

    async fn list_tree(
        &self,
        request: Request<ListTreeRequest>,
    ) -> Answer<Response<Self::ListTreeStream>> {
        let at_rest = request.into_inner().at_rest;
        let place = self.place()?;
        if at_rest {
            self.at_rest().await?;
        }
        let (data, (sender, receiver)) = (self.data()?, channel(UNDER_WAY));
        let this = self.clone();
        tokio::spawn(async move {
            let listed = on_tree(data, &sender, |root, watch, sink| {
                tree::list(root, watch, sink)
            });
            if listed.await && at_rest {
                // Whoever was started meanwhile has perhaps written already.
                if let Err(status) = this.at_rest().await {
                    let _caller_gone = sender.send(Err(status)).await;
                }
            }
            drop(place);
        });
        Ok(Response::new(stream(receiver)))
    }

    type ReadFilesStream = Pin<Box<dyn Stream<Item = Answer<FilePiece>> + Send>>;

    async fn read_files(
        &self,
        request: Request<ReadFilesRequest>,
    ) -> Answer<Response<Self::ReadFilesStream>> {
        let (request, place) = (request.into_inner(), self.place()?);
        let (data, (sender, receiver)) = (self.data()?, channel(UNDER_WAY));
        tokio::spawn(async move {
            on_tree(data, &sender, move |root, watch, sink| {
                tree::read(root, &request, watch, sink)
            })
            .await;
            drop(place);
        });
        Ok(Response::new(stream(receiver)))
    }

    type ReadBaselineStream = Pin<Box<dyn Stream<Item = Answer<BaselinePiece>> + Send>>;

    async fn read_baseline(
        &self,
        request: Request<ReadBaselineRequest>,
    ) -> Answer<Response<Self::ReadBaselineStream>> {
        let place = self.place()?;
        let before = self.runner.before(&request.into_inner().run);
        let before = before.map_err(status)?;
        let pieces: Vec<_> = before
            .baseline
            .chunks(PIECE)
            .map(|data| {
                Ok(BaselinePiece {
                    data: data.to_vec(),
                    api_key_tried: before.key_tried,
                })
            })
            .collect();
        drop(place);
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }
}

fn stream<T: Send + 'static>(
    receiver: Receiver<Answer<T>>,
) -> Pin<Box<dyn Stream<Item = Answer<T>> + Send>> {
    Box::pin(ReceiverStream::new(receiver))
}

/// Works on the data on a thread of its own; false where that did not come to its end. The caller is told why. A caller that goes
/// ends the work, wherever it is.
async fn on_tree<T, F>(data: PathBuf, sender: &Sender<Answer<T>>, work: F) -> bool
where
    T: Send + 'static,
    F: FnOnce(
            &Root,
            &Watch<'_>,
            &mut dyn FnMut(T) -> Result<(), TreeError>,
        ) -> Result<(), TreeError>
        + Send
        + 'static,
{
    let (to, cancel) = (sender.clone(), CancelFlag::new());
    let gone = cancel.clone();
    let done = blocking::run(move || {
        let root = Root::open(&data, None)?;
        let watch = Watch {
            progress: &Quiet,
            cancel,
        };
        // A caller that is gone takes nothing more.
        let mut sink = |message| {
            to.blocking_send(Ok(message))
                .map_err(|_| TreeError::Cancelled)
        };
        work(&root, &watch, &mut sink)
    });
    tokio::pin!(done);
    let done = tokio::select! {
        done = &mut done => done,
        () = sender.closed() => {
            gone.cancel();
            done.await
        }
    };
    match done {
        Ok(()) => true,
        Err(error) => {
            let _caller_gone = sender.send(Err(status(StepError::from(error)))).await;
            false
        }
    }
}
