//! pmm-managed starts pmm-agent through supervisord, over the socket that is there for everybody who knows "dummy".

use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::Result;

/// Starts a program unless it runs already.
pub(crate) async fn start(program: &str) -> Result<()> {
    let stream = UnixStream::connect("/run/supervisor/supervisor.sock").await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let body = format!(
        "<?xml version=\"1.0\"?><methodCall><methodName>supervisor.startProcess</methodName><params>\
         <param><value><string>{program}</string></value></param>\
         <param><value><boolean>0</boolean></value></param></params></methodCall>"
    );
    let request = hyper::Request::post("/RPC2")
        .header("host", "localhost")
        .header("content-type", "text/xml")
        .header("authorization", "Basic ZHVtbXk6ZHVtbXk=")
        .body(Full::<bytes::Bytes>::from(body))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let text =
        String::from_utf8_lossy(&response.into_body().collect().await?.to_bytes()).into_owned();
    if !status.is_success() || (text.contains("<fault>") && !text.contains("ALREADY_STARTED")) {
        return Err(format!("supervisord answered {status}: {text}").into());
    }
    Ok(())
}
